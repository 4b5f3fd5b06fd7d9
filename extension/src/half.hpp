// IEEE 754 half precision, which no column has and some models want.
#pragma once

#include <cstdint>

namespace onnx_sql {

// A float16 as its bits.
struct Half {
    std::uint16_t bits;
};

// Rounds to nearest, ties to even; what is too large becomes infinity.
Half to_half(float value);
Half to_half(double value);
float to_float(Half half);

}  // namespace onnx_sql
