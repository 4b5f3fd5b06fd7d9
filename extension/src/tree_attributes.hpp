// The attributes of TreeEnsembleClassifier and TreeEnsembleRegressor of ai.onnx.ml 1 to 3, checked.
// https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "onnx_graph.hpp"

namespace onnx_sql {

enum class TreeMode : std::uint8_t { leaf, leq, lt, gte, gt, eq, neq };

struct TreeAttributes {
    struct Node {
        TreeMode mode = TreeMode::leaf;
        // Whether what is missing goes the way of `yes`.
        bool is_missing_yes = false;
        std::size_t feature = 0;
        float value = 0;
        // Where a row goes on for which the test holds, and where any other one.
        std::size_t yes = 0;
        std::size_t no = 0;
        // Of a leaf: its weights are [first_weight, end_weight).
        std::size_t first_weight = 0;
        std::size_t end_weight = 0;
    };
    struct Weight {
        std::size_t target;
        float value;
    };

    std::vector<Node> nodes;
    // Where each tree's nodes begin, and the end.
    std::vector<std::size_t> trees;
    std::vector<Weight> weights;
    // Whether all weights, those of no leaf too, are of one target; and whether none is below zero.
    bool has_one_target = false;
    bool is_positive = false;
};

// Nothing where an attribute is missing, of another length, of a type that is not read here, or refers to something
// that is not there; a target is below `targets`, a feature below `features`, and no threshold is NaN or minus
// infinity.
std::optional<TreeAttributes> read_trees(const onnx::Node& node, std::size_t features, std::size_t targets);

}  // namespace onnx_sql
