#include "proof.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace onnx_sql {
namespace {

constexpr float tolerance = 1e-5F;

bool is_close(float ours, float theirs) {
    if (std::isnan(ours) || std::isnan(theirs)) return std::isnan(ours) && std::isnan(theirs);
    if (std::isinf(ours) || std::isinf(theirs)) return ours == theirs;
    return std::abs(ours - theirs) <= tolerance * std::max(1.0F, std::abs(theirs));
}

// Of one column of a tensor of that many: theirs lies row by row.
template <class Element, class Same>
bool same(const void* ours, const Element* theirs, std::size_t columns, std::size_t rows, Same is_same) {
    const auto* elements = static_cast<const Element*>(ours);
    for (std::size_t row = 0; row < rows; ++row) {
        if (!is_same(elements[row], theirs[row * columns])) return false;
    }
    return true;
}

}  // namespace

Proof::Proof(const Model& model, Probes probes, const Outputs& outputs, const std::vector<const char*>& names)
    : model_(model), probes_(std::move(probes)), outputs_(outputs) {
    const Runtime& runtime = model.runtime();
    const std::size_t rows = probes_.rows;
    const std::size_t features = probes_.columns.size() / rows;
    std::vector<float> matrix(rows * features);
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t feature = 0; feature < features; ++feature) {
            matrix[row * features + feature] = probes_.columns[feature * rows + row];
        }
    }
    const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(features)};
    const auto value = made<ort::Value>(runtime, "making probe rows", [&](auto** out) {
        return runtime.call().create_tensor_with_data(runtime.memory(), matrix.data(), matrix.size() * sizeof(float),
                                                      shape.data(), shape.size(), ort::ElementType::float32, out);
    });
    std::vector<ort::Value*> answers(outputs.size(), nullptr);
    model.run({value.get()}, names, answers);
    for (ort::Value* answer : answers) answers_.emplace_back(answer, runtime);
    for (std::size_t index = 0; index < outputs.size(); ++index) {
        outputs[index]->learn(describe(runtime, answers[index]), rows);
    }
}

bool Proof::holds_for(ColumnModel& ours) const {
    const std::size_t features = probes_.columns.size() / probes_.rows;
    for (std::size_t first = 0; first < probes_.rows; first += rows_together) {
        const std::size_t rows = std::min(rows_together, probes_.rows - first);
        std::vector<Run<float>> columns;
        columns.reserve(features);
        for (std::size_t feature = 0; feature < features; ++feature) {
            columns.push_back({probes_.columns.data() + feature * probes_.rows + first, nullptr, {}});
        }
        ours.compute(columns.data(), rows);
        if (!holds_for(ours, first, rows)) return false;
    }
    return true;
}

bool Proof::holds_for(const ColumnModel& ours, std::size_t first, std::size_t rows) const {
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        const OutputTensor& output = *outputs_[index];
        void* data = nullptr;
        model_.runtime().check(model_.runtime().call().tensor_data(answers_[index].get(), &data), "reading probes");
        const std::vector<const void*> columns = ours.columns_of(output.tensor().name);
        const std::size_t width = columns.size();
        if (width != output.columns()) return false;
        const bool is_label = output.tensor().element == ort::ElementType::int64;
        for (std::size_t column = 0; column < width; ++column) {
            const std::size_t place = first * width + column;
            if (!(is_label ? same(columns[column], static_cast<const std::int64_t*>(data) + place, width, rows,
                                  std::equal_to<>())
                           : same(columns[column], static_cast<const float*>(data) + place, width, rows, is_close))) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace onnx_sql
