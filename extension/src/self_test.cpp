#include "self_test.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "errors.hpp"
#include "generated/self_test.hpp"
#include "model.hpp"

namespace onnx_sql {
namespace {

constexpr std::string_view doing = "trying ONNX Runtime";
constexpr std::size_t rows = 3;
constexpr std::array<std::string_view, rows> texts{"", "a", "\xC3\xA9"};

void expect(bool holds, std::string_view what) {
    if (!holds) fail(what, " came out wrong");
}

void expect_signature(const Model& model) {
    const auto is = [](const Tensor& tensor, std::string_view name, ort::ElementType element,
                       const std::vector<std::int64_t>& shape) {
        return tensor.name == name && tensor.element == element && tensor.shape == shape;
    };
    const auto float32 = ort::ElementType::float32;
    const auto string = ort::ElementType::string;
    expect(model.inputs().size() == 2 && is(model.inputs()[0], "x", float32, {-1, 2}) &&
               is(model.inputs()[1], "s", string, {-1}),
           "the inputs of a model");
    expect(model.outputs().size() == 2 && is(model.outputs()[0], "y", float32, {-1, 1}) &&
               is(model.outputs()[1], "t", string, {-1}),
           "the outputs of a model");
    expect(model.feature_names() == std::vector<std::string>{"a", "b"}, "the metadata of a model");
}

Handle<ort::Value> text_tensor(const Runtime& runtime) {
    const std::array<std::int64_t, 1> shape{rows};
    auto tensor = made<ort::Value>(runtime, doing, [&](auto** out) {
        return runtime.call().create_tensor(runtime.allocator(), shape.data(), shape.size(), ort::ElementType::string,
                                            out);
    });
    for (std::size_t row = 0; row < rows; ++row) {
        char* place = nullptr;
        runtime.check(runtime.call().string_element_buffer(tensor.get(), row, texts[row].size(), &place), doing);
        if (!texts[row].empty()) std::memcpy(place, texts[row].data(), texts[row].size());
    }
    return tensor;
}

void expect_texts(const Runtime& runtime, const ort::Value* value) {
    std::size_t length = 0;
    runtime.check(runtime.call().string_tensor_length(value, &length), doing);
    const std::string whole = std::string(texts[0]) + std::string(texts[1]) + std::string(texts[2]);
    expect(length == whole.size(), "the length of text");
    std::string found(length, '\0');
    std::array<std::size_t, rows> starts{};
    runtime.check(runtime.call().string_tensor_content(value, found.data(), length, starts.data(), rows), doing);
    expect(found == whole && starts == std::array<std::size_t, rows>{0, 0, 1}, "text");
}

void expect_refusal(const Runtime& runtime) {
    try {
        const Model model(runtime, "no model", 8, 1);
    } catch (const Error& error) {
        expect(std::string_view(error.what()).size() > 60, "the message of an error");
        return;
    }
    expect(false, "what is no model");
}

void run(const Runtime& runtime) {
    const Model model(runtime, self_test_model.data(), self_test_model.size(), 1);
    expect_signature(model);
    std::array<float, rows * 2> numbers{1, 0, 0, 1, 0.5F, -2};
    const std::array<std::int64_t, 2> shape{rows, 2};
    const auto matrix = made<ort::Value>(runtime, doing, [&](auto** out) {
        return runtime.call().create_tensor_with_data(runtime.memory(), numbers.data(), sizeof numbers, shape.data(),
                                                      shape.size(), ort::ElementType::float32, out);
    });
    const auto text = text_tensor(runtime);
    std::vector<ort::Value*> answers(2, nullptr);
    model.run({matrix.get(), text.get()}, {"y", "t"}, answers);
    const Handle<ort::Value> scores(answers[0], runtime);
    const Handle<ort::Value> labels(answers[1], runtime);
    const Tensor shown = describe(runtime, scores.get());
    expect(shown.element == ort::ElementType::float32 && shown.shape == std::vector<std::int64_t>{rows, 1},
           "the shape of an output");
    void* data = nullptr;
    runtime.check(runtime.call().tensor_data(scores.get(), &data), doing);
    std::array<float, rows> found{};
    std::memcpy(found.data(), data, sizeof found);
    expect(found == std::array<float, rows>{3, -2, 5.5F}, "an output");
    expect_texts(runtime, labels.get());
    expect_refusal(runtime);
}

}  // namespace

void self_test(const Runtime& runtime) {
    try {
        run(runtime);
    } catch (const Error& error) {
        fail("ONNX Runtime ", runtime.version(), " does not do what this library calls it for: ", error.what(),
             "; put the release that this library was tested with beside the extension, which `onnx-pipeline extension "
             "package` does");
    }
}

}  // namespace onnx_sql
