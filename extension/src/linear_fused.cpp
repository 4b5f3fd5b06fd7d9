#include "linear_kernels.hpp"

#if defined(__x86_64__)

// All headers come before it: what they define must run on every processor.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

namespace onnx_sql {
namespace {

inline float multiply_add(float left, float right, float sum) { return __builtin_fmaf(left, right, sum); }

#include "linear_kernels_body.hpp"

}  // namespace

extern const LinearKernels fused_kernels{&sum, &finish, &prepare_column};

}  // namespace onnx_sql

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
