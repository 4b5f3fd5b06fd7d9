// Ensembles of trees, packed so that many rows can walk down one tree at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chain.hpp"
#include "linear.hpp"

namespace onnx_sql {

// A row whose `column` is at most `value` goes on to node `left`, any other one, NaN too, to the node behind that. In
// a column that is NaN everywhere all rows go there: a leaf leads to itself, and its value is what the row gets.
struct TreeNode {
    float value;
    std::uint16_t column;
    std::uint16_t left;
};

struct Tree {
    // Where its nodes begin; the first is the root. `left` counts from here.
    std::size_t first = 0;
    // Tests from the root to the farthest and to the nearest leaf.
    std::size_t depth = 0;
    std::size_t nearest = 0;
    // The sum that all leaves add to; nothing where a leaf adds to each, and its value is its place in `leaves`.
    std::optional<std::size_t> sum;
};

// What trees make of the sums.
enum class Ending {
    each,       // one output for each
    one_score,  // two classes, and the only sum is the second's score
    two_scores  // two classes that have a sum each
};

struct Trees {
    // What nodes compare: features, some with what is missing taken for minus infinity, so that it is at most anything.
    struct Column {
        std::size_t feature;
        bool is_missing_least;
    };

    std::size_t features = 0;
    Preparation preparation;
    // The column after the last is the one that is NaN everywhere.
    std::vector<Column> columns;
    std::vector<TreeNode> nodes;
    std::vector<Tree> trees;
    std::size_t sums = 0;
    // leaves[place * sums + sum].
    std::vector<float> leaves;
    // What sums are divided by, then what is added; empty where nothing is.
    float divisor = 1;
    std::vector<float> base;
    Ending ending = Ending::each;
    // Of two classes, what the score must be above for the second, and whether it is the share of that class.
    float limit = 0;
    bool is_share = false;
    Finish finish = Finish::none;
    // Of each class; empty where there is no label.
    std::vector<std::int64_t> labels;
    // The outputs' names, empty where the model does not give them.
    std::string label_output;
    std::string scores_output;

    [[nodiscard]] std::size_t outputs() const { return ending == Ending::one_score ? 2 : sums; }
};

// The ensemble that a chain of that many features is up to the outputs; nothing where it is anything else, or its sums
// are not all known to be there for each row.
std::optional<Trees> find_trees(const Chain& chain, std::size_t features, const std::vector<std::string>& outputs);

}  // namespace onnx_sql
