// The arithmetic of linear models over a block of rows, column by column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "convert.hpp"
#include "linear.hpp"

namespace onnx_sql {

// Rows that are scored together: what is worked on stays in the first cache, and columns are read in long runs.
constexpr std::size_t rows_together = 2048;

// A linear model as plain arrays; null where there is none of a step.
struct LinearView {
    explicit LinearView(const Linear& linear);

    std::size_t features;
    std::size_t sums;
    const float* imputed;
    const float* offsets;
    const float* scales;
    const float* weights;
    const float* intercepts;
    Finish finish;
    bool is_mirrored;
};

struct LinearKernels {
    // sums[sum * rows_together + row] of up to `rows_together` rows: products are added in the order of the features,
    // and the intercept last, as ONNX Runtime does it. A stand-in for NULL is NaN. `tiles` holds `columns_together`
    // columns of `rows_together` rows.
    void (*sum)(const LinearView& linear, const Run<float>* columns, std::size_t rows, float* sums, float* tiles);
    // Turns sums into what `finish` says, in their place; `tile` holds `rows_together` numbers.
    void (*finish)(const LinearView& linear, std::size_t rows, float* sums, float* tile);
};

#if defined(__x86_64__)
// With one rounding for product and sum. Only for processors that have AVX2 and FMA, as those since 2013.
extern const LinearKernels fused_kernels;
#endif
// With a rounding for each, which every processor has.
extern const LinearKernels plain_kernels;

// Those that this processor has, the fastest first.
std::vector<const LinearKernels*> kernels_here();

// The label of each row: that of the first of the greatest sums.
void choose_labels(const Linear& linear, const float* sums, std::size_t rows, std::int64_t* labels);

}  // namespace onnx_sql
