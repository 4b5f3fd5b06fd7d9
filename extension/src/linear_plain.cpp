#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "linear_kernels.hpp"

namespace onnx_sql {
namespace {

inline float multiply_add(float left, float right, float sum) { return left * right + sum; }

#include "linear_kernels_body.hpp"

#if defined(__x86_64__)

// Whether the processor has AVX2 and FMA, and the system keeps their registers. Asked of the processor itself: what
// compilers offer for it says no in a library that Zig has linked.
bool has_fused() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    constexpr unsigned fma = 1U << 12U;
    constexpr unsigned osxsave = 1U << 27U;
    constexpr unsigned avx2 = 1U << 5U;
    constexpr unsigned registers = 6;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & fma) == 0 || (c & osxsave) == 0) return false;
    // NOLINTBEGIN(misc-const-correctness,portability-no-assembler): no function of every compiler asks for it
    unsigned kept = 0;
    unsigned high = 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    // NOLINTEND(misc-const-correctness,portability-no-assembler)
    if ((kept & registers) != registers) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & avx2) != 0;
}

#endif

}  // namespace

const LinearKernels plain_kernels{&sum, &finish, &prepare_column};

std::vector<const LinearKernels*> kernels_here() {
    std::vector<const LinearKernels*> here;
#if defined(__x86_64__)
    if (has_fused()) here.push_back(&fused_kernels);
#endif
    here.push_back(&plain_kernels);
    return here;
}

PreparationView::PreparationView(const Preparation& preparation)
    : imputed(preparation.imputed.empty() ? nullptr : preparation.imputed.data()),
      offsets(preparation.scales.empty() ? nullptr : preparation.offsets.data()),
      scales(preparation.scales.empty() ? nullptr : preparation.scales.data()) {}

LinearView::LinearView(const Linear& linear)
    : PreparationView(linear.preparation),
      features(linear.features),
      sums(linear.sums),
      weights(linear.weights.data()),
      intercepts(linear.intercepts.data()),
      finish(linear.finish),
      is_mirrored(linear.is_mirrored()) {}

void choose_labels(const std::vector<std::int64_t>& names, const float* sums, std::size_t rows, std::int64_t* labels) {
    const float* second = sums + rows_together;
    if (names.size() == 2) {
        // By masks: branches that follow no pattern took a quarter of the time of a logistic regression.
        const std::int64_t first = names[0];
        const std::int64_t difference = names[0] ^ names[1];
        for (std::size_t row = 0; row < rows; ++row) {
            labels[row] = first ^ (difference & -static_cast<std::int64_t>(second[row] > sums[row]));
        }
        return;
    }
    for (std::size_t row = 0; row < rows; ++row) {
        std::size_t best = 0;
        for (std::size_t sum = 1; sum < names.size(); ++sum) {
            if (sums[sum * rows_together + row] > sums[best * rows_together + row]) best = sum;
        }
        labels[row] = names[best];
    }
}

}  // namespace onnx_sql
