#include "numeric.hpp"

#include <array>
#include <cstdlib>
#include <limits>
#include <string>

namespace onnx_sql {
namespace {

// 10^0 to 10^22: those powers of ten that a double holds exactly.
constexpr std::array<double, 23> exact_powers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr std::uint64_t exact_integers = std::uint64_t{1} << 53U;

std::uint64_t word(const sql::Numeric& numeric, std::size_t first) {
    std::uint64_t value = 0;
    for (std::size_t index = 8; index-- > 0;) value = value << 8U | numeric.value[first + index];
    return value;
}

// The magnitude, in limbs of 32 bits.
using Limbs = std::array<std::uint64_t, 4>;

Limbs limbs_of(const sql::Numeric& numeric) {
    Limbs limbs{};
    for (std::size_t half = 0; half < 2; ++half) {
        const std::uint64_t value = word(numeric, 8 * half);
        limbs[2 * half] = value & 0xFFFFFFFFU;
        limbs[2 * half + 1] = value >> 32U;
    }
    return limbs;
}

// Divides by ten, and gives the remainder.
std::uint64_t divide(Limbs& limbs) {
    std::uint64_t remainder = 0;
    for (std::size_t index = limbs.size(); index-- > 0;) {
        const std::uint64_t dividend = remainder << 32U | limbs[index];
        limbs[index] = dividend / 10U;
        remainder = dividend % 10U;
    }
    return remainder;
}

// The magnitude in decimal digits.
std::string digits(const sql::Numeric& numeric) {
    Limbs limbs = limbs_of(numeric);
    std::string reversed;
    do {
        reversed += static_cast<char>('0' + static_cast<char>(divide(limbs)));
    } while (limbs != Limbs{});
    return {reversed.rbegin(), reversed.rend()};
}

}  // namespace

double to_double(const sql::Numeric& numeric) {
    const std::uint64_t low = word(numeric, 0);
    const int scale = numeric.scale;  // NOLINT(bugprone-signed-char-misuse,cert-str34-c): it is a number
    double magnitude = 0;
    if (word(numeric, 8) == 0 && low <= exact_integers && scale >= 0 && scale < static_cast<int>(exact_powers.size())) {
        // One division of two exact numbers is rounded once, so it is the nearest double.
        magnitude = static_cast<double>(low) / exact_powers[static_cast<std::size_t>(scale)];
    } else {
        // An integer with an exponent reads the same in every locale.
        magnitude = std::strtod((digits(numeric) + "e" + std::to_string(-scale)).c_str(), nullptr);
    }
    return numeric.sign == 0 ? -magnitude : magnitude;
}

std::optional<std::int64_t> to_int64(const sql::Numeric& numeric) {
    constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
    const bool negative = numeric.sign == 0;
    if (numeric.scale < 0) return std::nullopt;
    Limbs limbs = limbs_of(numeric);
    for (int place = 0; place < numeric.scale; ++place) {
        if (divide(limbs) != 0) return std::nullopt;
    }
    const std::uint64_t low = limbs[1] << 32U | limbs[0];
    if (limbs[3] != 0 || limbs[2] != 0 || low > largest + (negative ? 1U : 0U)) return std::nullopt;
    if (!negative) return static_cast<std::int64_t>(low);
    return low == 0 ? 0 : -static_cast<std::int64_t>(low - 1) - 1;
}

}  // namespace onnx_sql
