#include "utf.hpp"

#include <cstdint>
#include <cstring>

namespace onnx_sql::utf {
namespace {

constexpr std::uint32_t first_surrogate = 0xD800;
constexpr std::uint32_t first_low_surrogate = 0xDC00;
constexpr std::uint32_t after_surrogates = 0xE000;
constexpr std::uint32_t first_supplementary = 0x10000;
constexpr std::uint32_t last_code_point = 0x10FFFF;

std::uint32_t unit(const unsigned char* bytes, std::size_t index) {
    return static_cast<std::uint32_t>(bytes[2 * index]) | static_cast<std::uint32_t>(bytes[2 * index + 1]) << 8U;
}

// The code point at `position` of `count` units, and past it; nothing for half a pair.
std::optional<std::uint32_t> next_utf16(const unsigned char* bytes, std::size_t count, std::size_t& position) {
    const std::uint32_t high = unit(bytes, position++);
    if (high < first_surrogate || high >= after_surrogates) return high;
    if (high >= first_low_surrogate || position == count) return std::nullopt;
    const std::uint32_t low = unit(bytes, position++);
    if (low < first_low_surrogate || low >= after_surrogates) return std::nullopt;
    return first_supplementary + ((high - first_surrogate) << 10U) + (low - first_low_surrogate);
}

std::size_t utf8_size(std::uint32_t point) {
    if (point < 0x80) return 1;
    if (point < 0x800) return 2;
    return point < first_supplementary ? 3 : 4;
}

struct Decoded {
    std::uint32_t point;
    std::size_t size;  // 0: not UTF-8
};

Decoded next_utf8(std::string_view bytes) {
    const auto at = [&](std::size_t index) { return static_cast<unsigned char>(bytes[index]); };
    const std::uint32_t first = at(0);
    if (first < 0x80) return {first, 1};
    const std::size_t size = first < 0xC2 ? 0U : first < 0xE0 ? 2U : first < 0xF0 ? 3U : first < 0xF5 ? 4U : 0U;
    if (size == 0 || size > bytes.size()) return {0, 0};
    std::uint32_t point = first & (0x7FU >> size);
    for (std::size_t index = 1; index < size; ++index) {
        if ((at(index) & 0xC0U) != 0x80U) return {0, 0};
        point = point << 6U | (at(index) & 0x3FU);
    }
    const bool surrogate = point >= first_surrogate && point < after_surrogates;
    if (utf8_size(point) != size || surrogate || point > last_code_point) return {0, 0};
    return {point, size};
}

}  // namespace

std::optional<std::uint32_t> next_point(std::string_view& utf8) {
    const Decoded next = next_utf8(utf8);
    utf8.remove_prefix(next.size);
    return next.size == 0 ? std::nullopt : std::optional(next.point);
}

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const Decoded next = next_utf8(bytes);
        if (next.size == 0) return false;
        bytes.remove_prefix(next.size);
    }
    return true;
}

std::optional<std::size_t> utf8_length(const void* utf16, std::size_t bytes) {
    if (bytes % 2 != 0) return std::nullopt;
    const auto* units = static_cast<const unsigned char*>(utf16);
    std::size_t length = 0;
    for (std::size_t position = 0; position < bytes / 2;) {
        const auto point = next_utf16(units, bytes / 2, position);
        if (!point) return std::nullopt;
        length += utf8_size(*point);
    }
    return length;
}

// NOLINTNEXTLINE(misc-const-correctness): the target is written to
void to_utf8(const void* utf16, std::size_t bytes, char* target) {
    const auto* units = static_cast<const unsigned char*>(utf16);
    for (std::size_t position = 0; position < bytes / 2;) {
        const std::uint32_t point = next_utf16(units, bytes / 2, position).value_or(0);
        const std::size_t size = utf8_size(point);
        if (size == 1) {
            *target++ = static_cast<char>(point);
            continue;
        }
        // The first byte opens with as many ones as there are bytes, each further one with 10 and six bits.
        const std::uint32_t lead = (0xF00U >> size) & 0xFFU;
        *target++ = static_cast<char>(lead | point >> 6U * (size - 1));
        for (std::size_t rest = size - 1; rest-- > 0;) {
            *target++ = static_cast<char>(0x80U | (point >> 6U * rest & 0x3FU));
        }
    }
}

std::size_t to_utf16(std::string_view utf8, void* target) {
    auto* out = static_cast<unsigned char*>(target);
    const auto put = [&](std::uint32_t value) {
        *out++ = static_cast<unsigned char>(value & 0xFFU);
        *out++ = static_cast<unsigned char>(value >> 8U);
    };
    while (!utf8.empty()) {
        const Decoded next = next_utf8(utf8);
        if (next.point < first_supplementary) {
            put(next.point);
        } else {
            put(first_surrogate + ((next.point - first_supplementary) >> 10U));
            put(first_low_surrogate + ((next.point - first_supplementary) & 0x3FFU));
        }
        utf8.remove_prefix(next.size);
    }
    return static_cast<std::size_t>(out - static_cast<unsigned char*>(target));
}

}  // namespace onnx_sql::utf
