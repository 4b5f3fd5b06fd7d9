#include "direct.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "errors.hpp"
#include "proof.hpp"

namespace onnx_sql {
namespace {

using Outputs = std::vector<std::unique_ptr<OutputTensor>>;

// Labels of 64-bit integers, and all else of 32-bit floats, are what is computed here.
bool are_known(const Outputs& outputs, const std::string& label) {
    return std::all_of(outputs.begin(), outputs.end(), [&](const auto& output) {
        const Tensor& tensor = output->tensor();
        return tensor.element == (tensor.name == label ? ort::ElementType::int64 : ort::ElementType::float32);
    });
}

// The first way of this processor to compute the model that is proven; null where none is.
template <class Found>
std::unique_ptr<ColumnModel> proven(const Found& found, const Model& model, const Outputs& outputs,
                                    const std::vector<const char*>& names) {
    if (!are_known(outputs, found.label_output)) return nullptr;
    std::optional<Proof> proof;
    try {
        proof.emplace(model, make_probes(found), outputs, names);
    } catch (const Error&) {
        return nullptr;  // what is wrong is told where rows are scored
    }
    for (const LinearKernels* kernels : kernels_here()) {
        auto made = make_column_model(found, *kernels);
        if (proof->holds_for(*made)) return made;
    }
    return nullptr;
}

}  // namespace

Direct::Direct(std::unique_ptr<ColumnModel> model, std::size_t features)
    : model_(std::move(model)), features_(features), converted_(features * rows_together) {}

std::unique_ptr<Direct> Direct::prove(const Model& model, const Outputs& outputs,
                                      const std::vector<const char*>& output_names) {
    std::unique_ptr<ColumnModel> made;
    std::size_t features = 0;
    if (model.linear()) {
        made = proven(*model.linear(), model, outputs, output_names);
        features = model.linear()->features;
    } else if (model.trees()) {
        made = proven(*model.trees(), model, outputs, output_names);
        features = model.trees()->features;
    }
    if (made == nullptr) return nullptr;
    return std::unique_ptr<Direct>(new Direct(std::move(made), features));
}

void Direct::score(InputTensor& input, Results& results, const Outputs& outputs, std::size_t first, std::size_t count) {
    for (std::size_t done = 0; done < count; done += rows_together) {
        const std::size_t rows = std::min(rows_together, count - done);
        columns_.clear();
        for (std::size_t feature = 0; feature < features_; ++feature) {
            columns_.push_back(input.column(feature, first + done, rows, converted_.data() + feature * rows_together));
        }
        model_->compute(columns_.data(), rows);
        for (const auto& output : outputs) {
            output->take_columns(model_->columns_of(output->tensor().name), results, first + done, rows);
        }
    }
}

}  // namespace onnx_sql
