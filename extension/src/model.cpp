#include "model.hpp"

#include <algorithm>

#include "errors.hpp"
#include "json_names.hpp"

namespace onnx_sql {
namespace {

constexpr std::string_view reading = "reading the model's signature";

enum class Side { input, output };

Handle<ort::SessionHandle> open(const Runtime& runtime, const void* bytes, std::size_t size, int threads) {
    const auto& call = runtime.call();
    const auto options = made<ort::SessionOptions>(runtime, "starting a session",
                                                   [&](auto** out) { return call.create_session_options(out); });
    runtime.check(call.set_intra_op_threads(options.get(), threads), "setting threads");
    runtime.check(call.set_inter_op_threads(options.get(), 1), "setting threads");
    return made<ort::SessionHandle>(runtime, "@model is no ONNX model that ONNX Runtime can run", [&](auto** out) {
        return call.create_session_from_array(runtime.env(), bytes, size, options.get(), out);
    });
}

// Takes over a text that ONNX Runtime hands out.
auto owned(const Runtime& runtime, char* text) {
    const auto release = [&runtime](char* released) {
        const auto& call = runtime.call();
        if (ort::Status* status = call.allocator_free(runtime.allocator(), released)) call.release_status(status);
    };
    return std::unique_ptr<char, decltype(release)>(text, release);
}

std::vector<std::string> feature_names_of(const Runtime& runtime, const ort::SessionHandle* session) {
    constexpr std::string_view doing = "reading the model's metadata";
    const auto& call = runtime.call();
    const auto metadata =
        made<ort::ModelMetadata>(runtime, doing, [&](auto** out) { return call.model_metadata(session, out); });
    char* text = nullptr;
    runtime.check(call.metadata_property(metadata.get(), runtime.allocator(), "feature_names", &text), doing);
    if (text == nullptr) return {};
    const auto owner = owned(runtime, text);
    return json_names(text);
}

std::string name_of(const Runtime& runtime, const ort::SessionHandle* session, Side side, std::size_t index) {
    const auto& call = runtime.call();
    char* text = nullptr;
    runtime.check(side == Side::input ? call.input_name(session, index, runtime.allocator(), &text)
                                      : call.output_name(session, index, runtime.allocator(), &text),
                  reading);
    const auto owner = owned(runtime, text);
    return text;
}

// Fills in element type and shape.
void read_tensor(const Runtime& runtime, const ort::TensorInfo* info, Tensor& tensor) {
    const auto& call = runtime.call();
    std::size_t rank = 0;
    runtime.check(call.element_type(info, &tensor.element), reading);
    runtime.check(call.dimension_count(info, &rank), reading);
    tensor.shape.resize(rank);
    runtime.check(call.dimensions(info, tensor.shape.data(), rank), reading);
}

Tensor read(const Runtime& runtime, const ort::SessionHandle* session, Side side, std::size_t index) {
    const auto& call = runtime.call();
    Tensor tensor{name_of(runtime, session, side, index), ort::ElementType::undefined, {}};
    const auto type = made<ort::TypeInfo>(runtime, reading, [&](auto** out) {
        return side == Side::input ? call.input_type(session, index, out) : call.output_type(session, index, out);
    });
    auto kind = ort::ValueKind::unknown;
    runtime.check(call.kind_of_type(type.get(), &kind), reading);
    if (kind == ort::ValueKind::sequence && side == Side::output) {
        fail("the model's output ", quote(tensor.name),
             " is a list, not a table column: scikit-learn models come with a ZipMap node unless told otherwise; "
             "register "
             "the model through the pipeline, which removes it, or export it with options={'zipmap': False}");
    }
    if (kind != ort::ValueKind::tensor) {
        fail("the model's ", side == Side::input ? "input " : "output ", quote(tensor.name),
             " is no tensor, and columns can only fill and come from tensors");
    }
    const ort::TensorInfo* info = nullptr;  // belongs to `type`
    runtime.check(call.tensor_info_of_type(type.get(), &info), reading);
    read_tensor(runtime, info, tensor);
    return tensor;
}

}  // namespace

std::string to_text(ort::ElementType element) {
    switch (element) {
        case ort::ElementType::float32:
            return "float";
        case ort::ElementType::uint8:
            return "uint8";
        case ort::ElementType::int8:
            return "int8";
        case ort::ElementType::uint16:
            return "uint16";
        case ort::ElementType::int16:
            return "int16";
        case ort::ElementType::int32:
            return "int32";
        case ort::ElementType::int64:
            return "int64";
        case ort::ElementType::string:
            return "string";
        case ort::ElementType::boolean:
            return "bool";
        case ort::ElementType::float16:
            return "float16";
        case ort::ElementType::float64:
            return "double";
        case ort::ElementType::uint32:
            return "uint32";
        case ort::ElementType::uint64:
            return "uint64";
        case ort::ElementType::bfloat16:
            return "bfloat16";
        case ort::ElementType::undefined:
            break;
    }
    return "type " + std::to_string(static_cast<int>(element));
}

std::string to_text(const Tensor& tensor) {
    std::string text = to_text(tensor.element) + "[";
    for (std::size_t index = 0; index < tensor.shape.size(); ++index) {
        if (index > 0) text += ", ";
        const std::int64_t size = tensor.shape[index];
        text += size >= 0 ? std::to_string(size) : index == 0 ? "N" : "?";
    }
    return text + "]";
}

Model::Model(const Runtime& runtime, const void* bytes, std::size_t size, int threads)
    : runtime_(runtime), session_(open(runtime, bytes, size, threads)) {
    std::size_t inputs = 0;
    std::size_t outputs = 0;
    runtime.check(runtime.call().input_count(session_.get(), &inputs), reading);
    runtime.check(runtime.call().output_count(session_.get(), &outputs), reading);
    for (std::size_t index = 0; index < inputs; ++index) {
        inputs_.push_back(read(runtime, session_.get(), Side::input, index));
    }
    for (std::size_t index = 0; index < outputs; ++index) {
        outputs_.push_back(read(runtime, session_.get(), Side::output, index));
    }
    std::transform(inputs_.begin(), inputs_.end(), std::back_inserter(input_names_),
                   [](const Tensor& tensor) { return tensor.name.c_str(); });
    feature_names_ = feature_names_of(runtime, session_.get());
    look_inside(bytes, size);
}

// Finds what is known here from one input [N, F] of 32-bit floats on.
void Model::look_inside(const void* bytes, std::size_t size) {
    if (inputs_.size() != 1 || inputs_[0].element != ort::ElementType::float32) return;
    const auto& shape = inputs_[0].shape;
    if (shape.size() != 2 || shape[0] >= 0 || shape[1] < 1) return;
    const auto features = static_cast<std::size_t>(shape[1]);
    const auto graph = onnx::read_graph(bytes, size);
    if (!graph) return;
    const auto chain = follow(*graph, inputs_[0].name, features);
    if (!chain) return;
    std::vector<std::string> names;
    names.reserve(outputs_.size());
    for (const Tensor& output : outputs_) names.push_back(output.name);
    linear_ = find_linear(*graph, *chain, features, names);
    if (!linear_) trees_ = find_trees(*chain, features, names);
}

void Model::run(const std::vector<const ort::Value*>& inputs, const std::vector<const char*>& output_names,
                std::vector<ort::Value*>& outputs) const {
    runtime_.check(runtime_.call().run(session_.get(), nullptr, input_names_.data(), inputs.data(), inputs.size(),
                                       output_names.data(), output_names.size(), outputs.data()),
                   "running the model");
}

Tensor describe(const Runtime& runtime, const ort::Value* value) {
    Tensor tensor{{}, ort::ElementType::undefined, {}};
    auto kind = ort::ValueKind::unknown;
    runtime.check(runtime.call().kind_of_value(value, &kind), "reading an output");
    if (kind != ort::ValueKind::tensor) fail("the model gave an output that is no tensor");
    const auto info = made<ort::TensorInfo>(
        runtime, "reading an output", [&](auto** out) { return runtime.call().tensor_info_of_value(value, out); });
    read_tensor(runtime, info.get(), tensor);
    return tensor;
}

}  // namespace onnx_sql
