#include "names.hpp"

#include <algorithm>
#include <cstdint>

#include "generated/letter_cases.hpp"
#include "utf.hpp"

namespace onnx_sql {
namespace {

std::uint32_t folded(std::uint32_t letter) {
    // The wide forms of ASCII, as East Asian keyboards write them.
    constexpr std::uint32_t first_wide = 0xFF01;
    constexpr std::uint32_t last_wide = 0xFF5E;
    constexpr std::uint32_t first_narrow = 0x21;
    if (letter >= first_wide && letter <= last_wide) letter = letter - first_wide + first_narrow;
    const auto* run = std::lower_bound(letters::runs.begin(), letters::runs.end(), letter,
                                       [](const letters::Run& each, std::uint32_t point) { return each.last < point; });
    if (run == letters::runs.end() || letter < run->first || (letter - run->first) % run->step != 0) return letter;
    return static_cast<std::uint32_t>(static_cast<std::int64_t>(letter) + run->shift);
}

}  // namespace

bool same_but_for_case(std::string_view left, std::string_view right) {
    while (!left.empty() && !right.empty()) {
        const auto one = utf::next_point(left);
        const auto other = utf::next_point(right);
        // What is no UTF-8 is equal to nothing but itself, which was looked for before.
        if (!one || !other || folded(*one) != folded(*other)) return false;
    }
    return left.empty() && right.empty();
}

}  // namespace onnx_sql
