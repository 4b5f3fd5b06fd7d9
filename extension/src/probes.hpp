// Rows on which two ways to compute a model would differ if they could.
#pragma once

#include <cstddef>
#include <vector>

#include "linear.hpp"
#include "trees.hpp"

namespace onnx_sql {

// columns[feature * rows + row].
struct Probes {
    std::size_t rows = 0;
    std::vector<float> columns;
};

// Half of the rows between two classes, where the least difference of a sum gives another label.
Probes make_probes(const Linear& linear);
// Rows at thresholds, right below and right above them, and with what is missing or infinite.
Probes make_probes(const Trees& trees);

}  // namespace onnx_sql
