#include "direct.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "errors.hpp"
#include "transpose.hpp"

namespace onnx_sql {
namespace {

constexpr float tolerance = 1e-5F;
constexpr std::size_t probes = 512;
static_assert(probes <= rows_together);

bool is_close(float ours, float theirs) {
    if (std::isnan(ours) || std::isnan(theirs)) return std::isnan(ours) && std::isnan(theirs);
    if (std::isinf(ours) || std::isinf(theirs)) return ours == theirs;
    return std::abs(ours - theirs) <= tolerance * std::max(1.0F, std::abs(theirs));
}

}  // namespace

// Rows that show differences, and what both make of them.
class Proof {
  public:
    Proof(const Model& model, const Linear& linear) : model_(model), linear_(linear) { make_rows(); }

    // What ONNX Runtime answers; the outputs learn from it.
    void ask(const std::vector<std::unique_ptr<OutputTensor>>& outputs, const std::vector<const char*>& names) {
        const Runtime& runtime = model_.runtime();
        std::vector<float> matrix(probes * linear_.features);
        for (std::size_t row = 0; row < probes; ++row) {
            for (std::size_t feature = 0; feature < linear_.features; ++feature) {
                matrix[row * linear_.features + feature] = at(row, feature);
            }
        }
        const std::vector<std::int64_t> shape{static_cast<std::int64_t>(probes),
                                              static_cast<std::int64_t>(linear_.features)};
        const auto value = made<ort::Value>(runtime, "making probe rows", [&](auto** out) {
            return runtime.call().create_tensor_with_data(runtime.memory(), matrix.data(),
                                                          matrix.size() * sizeof(float), shape.data(), shape.size(),
                                                          ort::ElementType::float32, out);
        });
        std::vector<ort::Value*> answers(outputs.size(), nullptr);
        model_.run({value.get()}, names, answers);
        for (ort::Value* answer : answers) answers_.emplace_back(answer, runtime);
        for (std::size_t index = 0; index < outputs.size(); ++index) {
            outputs[index]->learn(describe(runtime, answers[index]), probes);
        }
    }

    // Whether these kernels give the same.
    [[nodiscard]] bool holds_for(Direct& direct, const std::vector<std::unique_ptr<OutputTensor>>& outputs) const {
        std::vector<Run<float>> columns;
        for (std::size_t feature = 0; feature < linear_.features; ++feature) {
            columns.push_back({columns_.data() + feature * probes, nullptr, {}});
        }
        direct.compute(columns.data(), probes);
        for (std::size_t index = 0; index < outputs.size(); ++index) {
            void* data = nullptr;
            model_.runtime().check(model_.runtime().call().tensor_data(answers_[index].get(), &data), "reading probes");
            const std::vector<const void*> ours = direct.columns_of(outputs[index]->tensor().name);
            if (ours.size() != outputs[index]->columns()) return false;
            const bool is_label = outputs[index]->tensor().element == ort::ElementType::int64;
            for (std::size_t column = 0; column < ours.size(); ++column) {
                if (!(is_label ? same(ours, column, static_cast<const std::int64_t*>(data), std::equal_to<>())
                               : same(ours, column, static_cast<const float*>(data), is_close))) {
                    return false;
                }
            }
        }
        return true;
    }

  private:
    float& at(std::size_t row, std::size_t feature) { return columns_[feature * probes + row]; }

    template <class Element, class Same>
    static bool same(const std::vector<const void*>& ours, std::size_t column, const Element* theirs, Same is_same) {
        const auto* elements = static_cast<const Element*>(ours[column]);
        for (std::size_t row = 0; row < probes; ++row) {
            if (!is_same(elements[row], theirs[row * ours.size() + column])) return false;
        }
        return true;
    }

    void make_rows() {
        columns_.resize(probes * linear_.features);
        // The same rows each time, from a generator that every library has alike; the sum of four is normal enough.
        std::minstd_rand random(1);
        const auto number = [&] {
            double sum = -2;
            for (int turn = 0; turn < 4; ++turn) sum += static_cast<double>(random()) / std::minstd_rand::max();
            return sum * 1.7;
        };
        for (std::size_t row = 0; row < probes; ++row) {
            // Half of them between two classes, where the least difference of a sum gives another label.
            const bool between = row >= probes / 2;
            const double stretch = row < probes / 8 ? 8 : 1;
            std::vector<double> values(linear_.features);
            for (double& value : values) value = number() * stretch;
            if (between && linear_.sums > 1) bring_between(values);
            for (std::size_t feature = 0; feature < linear_.features; ++feature) {
                at(row, feature) = static_cast<float>(unscaled(feature, values[feature]));
            }
        }
        constexpr float nan = std::numeric_limits<float>::quiet_NaN();
        for (std::size_t feature = 0; feature < linear_.features; ++feature) {
            at(0, feature) = 0;
            at(1, feature) = nan;
            at(2 + feature % (probes / 16), feature) = nan;
        }
    }

    // The value that the model's own scaling makes a number of.
    [[nodiscard]] double unscaled(std::size_t feature, double number) const {
        if (linear_.scales.empty()) return number;
        const double scale = linear_.scales[feature];
        return linear_.offsets[feature] + (scale == 0 ? 0 : number / scale);
    }

    // Moves a row to where its two greatest sums are equal.
    void bring_between(std::vector<double>& values) const {
        const std::size_t features = linear_.features;
        std::vector<double> sums;
        for (std::size_t sum = 0; sum < linear_.sums; ++sum) {
            double total = linear_.intercepts[sum];
            for (std::size_t feature = 0; feature < features; ++feature) {
                total += values[feature] * static_cast<double>(linear_.weights[sum * features + feature]);
            }
            sums.push_back(total);
        }
        const auto first = static_cast<std::size_t>(std::max_element(sums.begin(), sums.end()) - sums.begin());
        double distance = std::numeric_limits<double>::infinity();
        std::size_t second = first;
        for (std::size_t sum = 0; sum < linear_.sums; ++sum) {
            if (sum == first || sums[first] - sums[sum] >= distance) continue;
            distance = sums[first] - sums[sum];
            second = sum;
        }
        double length = 0;
        const auto direction = [&](std::size_t feature) {
            return static_cast<double>(linear_.weights[first * features + feature]) -
                   static_cast<double>(linear_.weights[second * features + feature]);
        };
        for (std::size_t feature = 0; feature < features; ++feature) length += direction(feature) * direction(feature);
        if (second == first || length == 0) return;
        for (std::size_t feature = 0; feature < features; ++feature) {
            values[feature] -= distance / length * direction(feature);
        }
    }

    const Model& model_;
    const Linear& linear_;
    std::vector<float> columns_;
    std::vector<Handle<ort::Value>> answers_;
};

Direct::Direct(const Linear& linear, const LinearKernels& kernels)
    : linear_(linear),
      view_(linear),
      kernels_(kernels),
      converted_(linear.features * rows_together),
      tiles_(columns_together * rows_together),
      sums_(linear.sums * rows_together),
      labels_(linear.labels.empty() ? 0 : rows_together) {}

std::unique_ptr<Direct> Direct::prove(const Model& model, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
                                      const std::vector<const char*>& output_names) {
    if (!model.linear()) return nullptr;
    const Linear& linear = *model.linear();
    const bool known = std::all_of(outputs.begin(), outputs.end(), [&](const auto& output) {
        const Tensor& tensor = output->tensor();
        return tensor.element ==
               (tensor.name == linear.label_output ? ort::ElementType::int64 : ort::ElementType::float32);
    });
    if (!known) return nullptr;
    Proof proof(model, linear);
    try {
        proof.ask(outputs, output_names);
    } catch (const Error&) {
        return nullptr;  // what is wrong is told where rows are scored
    }
    for (const LinearKernels* kernels : kernels_here()) {
        std::unique_ptr<Direct> direct(new Direct(linear, *kernels));
        if (proof.holds_for(*direct, outputs)) return direct;
    }
    return nullptr;
}

void Direct::compute(const Run<float>* columns, std::size_t rows) {
    kernels_.sum(view_, columns, rows, sums_.data(), tiles_.data());
    if (!linear_.labels.empty()) choose_labels(linear_, sums_.data(), rows, labels_.data());
    kernels_.finish(view_, rows, sums_.data(), tiles_.data());
}

std::vector<const void*> Direct::columns_of(const std::string& name) const {
    if (name == linear_.label_output) return {labels_.data()};
    std::vector<const void*> columns;
    for (std::size_t sum = 0; sum < linear_.sums; ++sum) columns.push_back(sums_.data() + sum * rows_together);
    return columns;
}

void Direct::score(InputTensor& input, Results& results, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
                   std::size_t first, std::size_t count) {
    for (std::size_t done = 0; done < count; done += rows_together) {
        const std::size_t rows = std::min(rows_together, count - done);
        columns_.clear();
        for (std::size_t feature = 0; feature < linear_.features; ++feature) {
            columns_.push_back(input.column(feature, first + done, rows, converted_.data() + feature * rows_together));
        }
        compute(columns_.data(), rows);
        for (const auto& output : outputs) {
            output->take_columns(columns_of(output->tensor().name), results, first + done, rows);
        }
    }
}

}  // namespace onnx_sql
