#include "chain.hpp"

#include <algorithm>
#include <cmath>

namespace onnx_sql {
namespace {

using onnx::Attribute;
using onnx::Graph;
using onnx::Node;

// One number for each feature; false where the attribute has another count.
bool per_feature(const std::vector<float>& numbers, std::size_t features, std::vector<float>& target) {
    if (numbers.size() == 1) {
        target.assign(features, numbers.front());
    } else {
        target = numbers;
    }
    return target.size() == features;
}

bool is_in(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

class Following {
  public:
    Following(const Graph& graph, std::string input, std::size_t features)
        : graph_(graph), features_(features), value_(std::move(input)) {}

    std::optional<Chain> follow() {
        for (const Node& node : graph_.nodes) {
            if (node.inputs.empty() || node.outputs.empty()) return std::nullopt;
            const bool is_known = !label_.empty() && node.inputs[0] == label_ ? follow_label(node) : follow_value(node);
            if (!is_known) return std::nullopt;
        }
        if (chain_.nodes.empty()) return std::nullopt;
        return std::move(chain_);
    }

  private:
    bool follow_label(const Node& node) {
        if (!leaves_label(node)) return false;
        label_ = node.outputs[0];
        chain_.label_names.push_back(label_);
        return true;
    }

    bool follow_value(const Node& node) {
        if (node.inputs[0] != value_) return false;
        if (!leaves_value(node)) return take(node);
        value_ = node.outputs[0];
        chain_.value_names.push_back(value_);
        return true;
    }

    [[nodiscard]] static bool is_identity(const Node& node) {
        return node.type == "Identity" && node.inputs.size() == 1 && node.outputs.size() == 1;
    }

    // A label is of 64-bit integers already where it is computed here.
    [[nodiscard]] static bool leaves_label(const Node& node) {
        constexpr std::int64_t int64 = 7;
        return is_identity(node) || (node.type == "Cast" && node.inputs.size() == 1 && node.outputs.size() == 1 &&
                                     attribute(node, "to").integer == int64);
    }

    [[nodiscard]] bool leaves_value(const Node& node) const {
        if (is_identity(node)) return true;
        if (node.type != "Mul" || node.inputs.size() != 2 || node.outputs.size() != 1) return false;
        const auto factor = graph_.weights.find(node.inputs[1]);
        return factor != graph_.weights.end() && factor->second.shape.size() <= 1 &&
               factor->second.values == std::vector<float>{1.0F};
    }

    bool take(const Node& node) {
        chain_.value_names.clear();  // what the value was called before is another value
        if (node.outputs.size() == 2) {
            if (!label_.empty()) return false;
            label_ = node.outputs[0];
            chain_.label_names.push_back(label_);
        }
        value_ = node.outputs.back();
        chain_.value_names.push_back(value_);
        if (node.outputs.size() > 2) return false;
        if (!chain_.nodes.empty() || !prepare(node)) chain_.nodes.push_back(&node);
        return true;
    }

    bool prepare(const Node& node) {
        Preparation& steps = chain_.preparation;
        if (node.type == "Imputer" && steps.imputed.empty() && steps.scales.empty()) {
            const Attribute& replaced = attribute(node, "replaced_value_float");
            return has(node, "replaced_value_float") && std::isnan(replaced.number) &&
                   per_feature(attribute(node, "imputed_value_floats").numbers, features_, steps.imputed);
        }
        if (node.type == "Scaler" && steps.scales.empty()) {
            return per_feature(attribute(node, "offset").numbers, features_, steps.offsets) &&
                   per_feature(attribute(node, "scale").numbers, features_, steps.scales);
        }
        return false;
    }

    const Graph& graph_;
    std::size_t features_;
    std::string value_;
    std::string label_;
    Chain chain_;
};

}  // namespace

std::optional<Chain> follow(const Graph& graph, const std::string& input, std::size_t features) {
    return Following(graph, input, features).follow();
}

std::optional<OutputNames> matched(const Chain& chain, const std::vector<std::string>& outputs) {
    OutputNames names;
    for (const std::string& output : outputs) {
        if (is_in(chain.label_names, output) && names.label.empty()) {
            names.label = output;
        } else if (is_in(chain.value_names, output) && names.value.empty()) {
            names.value = output;
        } else {
            return std::nullopt;
        }
    }
    return names;
}

const Attribute& attribute(const Node& node, const char* name) {
    static const Attribute none;
    const auto found = node.attributes.find(name);
    return found == node.attributes.end() ? none : found->second;
}

bool has(const Node& node, const char* name) { return node.attributes.count(name) > 0; }

}  // namespace onnx_sql
