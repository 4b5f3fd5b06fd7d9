#include "tree_kernels.hpp"

#include <array>
#include <cstdint>
#include <cstring>

#include "linear_kernels.hpp"

namespace onnx_sql {
namespace {

// Rows that walk side by side: each waits for memory at every step, and the processor has others to go on with. One for
// each register there is for them.
constexpr std::size_t side_by_side = 8;
// Steps that are taken without asking whether all rows have arrived: a leaf leads to itself.
constexpr std::size_t spare_steps = 6;

using Places = std::array<std::uint32_t, side_by_side>;

// One step of all rows; whether one has moved.
template <bool Asks>
inline bool step(const TreeNode* nodes, const float* columns, Places& rows) {
    std::uint32_t moved = 0;
    for (std::size_t row = 0; row < side_by_side; ++row) {
        const TreeNode node = nodes[rows[row]];
        const float value = columns[std::size_t{node.column} * rows_in_block + row];
        // Not "greater": NaN is neither.
        const std::uint32_t next = std::uint32_t{node.left} + static_cast<std::uint32_t>(!(value <= node.value));
        if (Asks) moved |= next ^ rows[row];
        rows[row] = next;
    }
    return moved != 0;
}

inline Places walk(const TreeNode* nodes, const Tree& tree, std::size_t sure, const float* columns) {
    Places rows{};
    std::size_t steps = 0;
    for (; steps < sure; ++steps) step<false>(nodes, columns, rows);
    for (; steps < tree.depth; ++steps) {
        if (!step<true>(nodes, columns, rows)) break;
    }
    return rows;
}

std::uint32_t bits_of(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

}  // namespace

void add_trees(const Trees& trees, const float* columns, std::size_t rows, float* sums) {
    for (const Tree& tree : trees.trees) {
        const TreeNode* nodes = trees.nodes.data() + tree.first;
        const std::size_t sure = tree.depth <= tree.nearest + spare_steps ? tree.depth : tree.nearest;
        for (std::size_t row = 0; row < rows; row += side_by_side) {
            const Places arrived = walk(nodes, tree, sure, columns + row);
            if (const auto own = tree.sum; own) {
                float* sum = sums + *own * rows_together + row;
                for (std::size_t each = 0; each < side_by_side; ++each) sum[each] += nodes[arrived[each]].value;
                continue;
            }
            for (std::size_t each = 0; each < side_by_side; ++each) {
                const float* leaf = trees.leaves.data() + std::size_t{bits_of(nodes[arrived[each]].value)} * trees.sums;
                for (std::size_t sum = 0; sum < trees.sums; ++sum) sums[sum * rows_together + row + each] += leaf[sum];
            }
        }
    }
}

}  // namespace onnx_sql
