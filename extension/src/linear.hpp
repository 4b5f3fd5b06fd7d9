// Linear models, which columns can be scored by as they lie: sums of columns need no matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chain.hpp"

namespace onnx_sql {

// What becomes of the sums.
enum class Finish { none, logistic, softmax };

struct Linear {
    std::size_t features = 0;
    std::size_t sums = 0;
    Preparation preparation;
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

// The linear model that a chain of that many features is up to the outputs; nothing where it is anything else.
std::optional<Linear> find_linear(const onnx::Graph& graph, const Chain& chain, std::size_t features,
                                  const std::vector<std::string>& outputs);

}  // namespace onnx_sql
