#include "linear.hpp"

#include <algorithm>

namespace onnx_sql {
namespace {

using onnx::Graph;
using onnx::Node;

// A wider model is bound by its arithmetic, which ONNX Runtime is good at.
constexpr std::size_t most_sums = 16;

class Reading {
  public:
    Reading(const Graph& graph, const Chain& chain, std::size_t features) : graph_(graph), chain_(chain) {
        linear_.features = features;
        linear_.preparation = chain.preparation;
    }

    std::optional<Linear> read(const std::vector<std::string>& outputs) {
        for (const Node* node : chain_.nodes) {
            if (!(linear_.sums == 0 ? sums(*node) : after(*node))) return std::nullopt;
        }
        const auto names = matched(chain_, outputs);
        if (!names) return std::nullopt;
        linear_.label_output = names->label;
        linear_.scores_output = names->value;
        return std::move(linear_);
    }

  private:
    bool sums(const Node& node) {
        if (node.type == "LinearClassifier") return classifier(node);
        if (node.type == "LinearRegressor") {
            const std::int64_t targets = has(node, "targets") ? attribute(node, "targets").integer : 1;
            return targets > 0 && finish_named(node) && linear_.finish == Finish::none &&
                   weigh(attribute(node, "coefficients").numbers, static_cast<std::size_t>(targets),
                         attribute(node, "intercepts").numbers);
        }
        if (node.type == "Gemm") return gemm(node);
        if (node.type == "MatMul") return matrix(node, false, nullptr);
        return false;
    }

    bool classifier(const Node& node) {
        linear_.labels = attribute(node, "classlabels_ints").integers;
        if (node.outputs.size() != 2 || linear_.labels.size() < 2 || !finish_named(node)) return false;
        return weigh(attribute(node, "coefficients").numbers, linear_.labels.size(),
                     attribute(node, "intercepts").numbers);
    }

    bool gemm(const Node& node) {
        const auto is_one = [&](const char* name) { return !has(node, name) || attribute(node, name).number == 1.0F; };
        if (!is_one("alpha") || !is_one("beta") || attribute(node, "transA").integer != 0) return false;
        const std::vector<float>* added = nullptr;
        if (node.inputs.size() > 2 && !node.inputs[2].empty()) {
            const auto found = graph_.weights.find(node.inputs[2]);
            if (found == graph_.weights.end()) return false;
            added = &found->second.values;
        }
        return matrix(node, attribute(node, "transB").integer != 0, added);
    }

    bool matrix(const Node& node, bool is_transposed, const std::vector<float>* added) {
        const auto found = graph_.weights.find(node.inputs.size() > 1 ? node.inputs[1] : "");
        if (found == graph_.weights.end() || found->second.shape.size() != 2) return false;
        const auto& values = found->second.values;
        const std::size_t features = linear_.features;
        const std::int64_t width = found->second.shape[is_transposed ? 0 : 1];
        if (width <= 0 || found->second.shape[is_transposed ? 1 : 0] != static_cast<std::int64_t>(features))
            return false;
        const auto sums = static_cast<std::size_t>(width);
        if (values.size() % features != 0 || values.size() / features != sums) return false;
        std::vector<float> weights(values);
        for (std::size_t sum = 0; !is_transposed && sum < sums; ++sum) {
            for (std::size_t feature = 0; feature < features; ++feature) {
                weights[sum * features + feature] = values[feature * sums + sum];
            }
        }
        return weigh(weights, sums, added == nullptr ? std::vector<float>{} : *added);
    }

    bool weigh(const std::vector<float>& weights, std::size_t sums, std::vector<float> intercepts) {
        if (sums > most_sums || linear_.features == 0 || weights.size() != sums * linear_.features) return false;
        if (intercepts.empty()) intercepts.assign(sums, 0.0F);
        if (intercepts.size() == 1) intercepts.assign(sums, intercepts.front());
        if (intercepts.size() != sums) return false;
        linear_.sums = sums;
        linear_.weights = weights;
        linear_.intercepts = std::move(intercepts);
        return true;
    }

    bool after(const Node& node) {
        // What scikit-learn's export puts behind SOFTMAX: shares of a whole divided by their sum, which is 1.
        if (node.type == "Normalizer") {
            return linear_.finish == Finish::softmax && attribute(node, "norm").text == "L1";
        }
        if (linear_.finish != Finish::none || !linear_.labels.empty()) return false;
        if (node.type == "Add" && node.inputs.size() == 2 && !has_added_) {
            const auto found = graph_.weights.find(node.inputs[1]);
            has_added_ = true;
            if (found == graph_.weights.end() || found->second.shape.size() > 2) return false;
            const bool is_zero = std::all_of(linear_.intercepts.begin(), linear_.intercepts.end(),
                                             [](float intercept) { return intercept == 0.0F; });
            return is_zero && weigh(linear_.weights, linear_.sums, found->second.values);
        }
        if (node.type == "Sigmoid") {
            linear_.finish = Finish::logistic;
            return true;
        }
        if (node.type == "Softmax") {
            const std::int64_t axis = has(node, "axis") ? attribute(node, "axis").integer : -1;
            linear_.finish = Finish::softmax;
            return axis == 1 || axis == -1;
        }
        return false;
    }

    bool finish_named(const Node& node) {
        const std::string& text = attribute(node, "post_transform").text;
        if (text == "LOGISTIC") linear_.finish = Finish::logistic;
        if (text == "SOFTMAX") linear_.finish = Finish::softmax;
        return text.empty() || text == "NONE" || linear_.finish != Finish::none;
    }

    const Graph& graph_;
    const Chain& chain_;
    bool has_added_ = false;
    Linear linear_;
};

}  // namespace

bool Linear::is_mirrored() const {
    if (sums != 2 || intercepts[0] != -intercepts[1]) return false;
    return std::equal(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(features),
                      weights.begin() + static_cast<std::ptrdiff_t>(features),
                      [](float left, float right) { return left == -right; });
}

std::optional<Linear> find_linear(const Graph& graph, const Chain& chain, std::size_t features,
                                  const std::vector<std::string>& outputs) {
    return Reading(graph, chain, features).read(outputs);
}

}  // namespace onnx_sql
