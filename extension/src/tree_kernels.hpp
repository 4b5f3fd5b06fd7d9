// Rows on their way down the trees.
#pragma once

#include <cstddef>

#include "trees.hpp"

namespace onnx_sql {

// Rows whose columns lie together: of some thirty columns they fit into the first cache.
constexpr std::size_t rows_in_block = 256;

// Adds what each tree says of up to `rows_in_block` rows, tree by tree as ONNX Runtime does it, to
// sums[sum * rows_together + row]. The block has columns[column * rows_in_block + row] for each column of the trees,
// and the one that is NaN. What lies behind `rows` up to a multiple of eight is read and added, too.
void add_trees(const Trees& trees, const float* columns, std::size_t rows, float* sums);

}  // namespace onnx_sql
