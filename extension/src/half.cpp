#include "half.hpp"

#include <cmath>
#include <cstring>

namespace onnx_sql {

Half to_half(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    std::uint32_t half = 0;
    if (magnitude > 0x7F800000U) {
        half = 0x7E00;  // NaN
    } else if (magnitude >= 0x477FF000U) {
        half = 0x7C00;  // 65520 and above round to infinity
    } else if (magnitude < 0x38800000U) {
        // Subnormal: a whole number of 2^-24. Adding 0.5, whose last bit is worth 2^-24, rounds to it.
        const float shifted = std::fabs(value) + 0.5F;
        std::uint32_t rounded = 0;
        std::memcpy(&rounded, &shifted, sizeof rounded);
        half = rounded - 0x3F000000U;
    } else {
        const std::uint32_t odd = magnitude >> 13U & 1U;
        half = (magnitude - 0x38000000U + 0xFFFU + odd) >> 13U;
    }
    return {static_cast<std::uint16_t>(sign | half)};
}

Half to_half(double value) {
    auto narrow = static_cast<float>(value);
    if (std::isfinite(narrow) && static_cast<double>(narrow) != value) {
        // Rounding twice would round a tie that is none. Cut off, with the last bit set to say that something was
        // there.
        std::uint32_t bits = 0;
        std::memcpy(&bits, &narrow, sizeof bits);
        if (std::fabs(static_cast<double>(narrow)) > std::fabs(value)) --bits;
        bits |= 1U;
        std::memcpy(&narrow, &bits, sizeof narrow);
    }
    return to_half(narrow);
}

float to_float(Half half) {
    const std::uint32_t bits = half.bits;
    const std::uint32_t exponent = bits >> 10U & 0x1FU;
    const std::uint32_t fraction = bits & 0x3FFU;
    float magnitude = 0;
    if (exponent == 0) {
        magnitude = std::ldexp(static_cast<float>(fraction), -24);
    } else {
        const std::uint32_t wide = (exponent == 0x1FU ? 0xFFU : exponent + 112U) << 23U | fraction << 13U;
        std::memcpy(&magnitude, &wide, sizeof magnitude);
    }
    return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

}  // namespace onnx_sql
