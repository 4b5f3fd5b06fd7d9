// The arithmetic of linear models over a block of rows, column by column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "convert.hpp"
#include "linear.hpp"

namespace onnx_sql {

// Rows that are scored together. A processor finds out anew for each column of each block that it is read in order:
// 112 MB of columns and as much of indicators took 17 ms in runs of 2048 rows, 10 in runs of this many, and 9 in one.
// What is worked on beside them stays in the second cache.
constexpr std::size_t rows_together = 8192;
// Columns that are added together, so that sums are read and written less often.
constexpr std::size_t columns_at_once = 4;

// A preparation as plain arrays; null where there is none of a step.
struct PreparationView {
    explicit PreparationView(const Preparation& preparation);

    const float* imputed;
    const float* offsets;
    const float* scales;
};

// A linear model as plain arrays.
struct LinearView : PreparationView {
    explicit LinearView(const Linear& linear);

    std::size_t features;
    std::size_t sums;
    const float* weights;
    const float* intercepts;
    Finish finish;
    bool is_mirrored;
};

struct LinearKernels {
    // sums[sum * rows_together + row] of up to `rows_together` rows: products are added in the order of the features,
    // and the intercept last, as ONNX Runtime does it. A stand-in for NULL is NaN. `tiles` holds `columns_at_once`
    // columns of `rows_together` rows.
    void (*sum)(const LinearView& linear, const Run<float>* columns, std::size_t rows, float* sums, float* tiles);
    // Turns `count` sums into what `how` says, in their place; `tile` holds `rows_together` numbers.
    void (*finish)(Finish how, std::size_t count, std::size_t rows, float* sums, float* tile);
    // The values of a feature's column as the model reads them.
    void (*prepare)(const PreparationView& preparation, const Run<float>& column, std::size_t feature, std::size_t rows,
                    float* target);
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
void choose_labels(const std::vector<std::int64_t>& names, const float* sums, std::size_t rows, std::int64_t* labels);

}  // namespace onnx_sql
