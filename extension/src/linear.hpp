// Linear models, which columns can be scored by as they lie: sums of columns need no matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "onnx_graph.hpp"

namespace onnx_sql {

// What becomes of the sums.
enum class Finish { none, logistic, softmax };

struct Linear {
    std::size_t features = 0;
    std::size_t sums = 0;
    // For each feature: what NaN becomes, and (x - offset) * scale. Each is empty where there is none.
    std::vector<float> imputed;
    std::vector<float> offsets;
    std::vector<float> scales;
    // weights[sum * features + feature].
    std::vector<float> weights;
    std::vector<float> intercepts;
    Finish finish = Finish::none;
    // For each sum, what the label is where it is the greatest; empty where there is no label.
    std::vector<std::int64_t> labels;
    // The outputs' names, empty where the model does not give them.
    std::string label_output;
    std::string scores_output;
    // The second sum is the first with the opposite sign, as of two classes.
    [[nodiscard]] bool is_mirrored() const;
};

// The linear model that a graph is from the input of that name and width to the outputs; nothing where it is anything
// else.
std::optional<Linear> find_linear(const onnx::Graph& graph, const std::string& input, std::size_t features,
                                  const std::vector<std::string>& outputs);

}  // namespace onnx_sql
