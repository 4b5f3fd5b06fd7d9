"""Writes src/generated/letter_cases.hpp: which letters are one letter but for their case.

Of Unicode 3.2, whose foldings no later version changed, so that every Python writes the same. Run
`.venv/bin/python extension/letter_cases.py` after a change here: a test fails until then.
"""

from pathlib import Path
from unicodedata import ucd_3_2_0

HEADER = Path(__file__).parent / "src" / "generated" / "letter_cases.hpp"


def foldings() -> dict[int, int]:
    """Letter → what stands for all its cases; letters whose folding is several letters (ß) stay what they are."""
    found = {}
    for point in range(0x10000):
        letter = chr(point)
        folded = letter.casefold()
        if len(folded) == 1 and folded != letter and "Cn" not in map(ucd_3_2_0.category, (letter, folded)):
            found[point] = ord(folded)
    return found


def runs(pairs: dict[int, int]) -> list[tuple[int, int, int, int]]:
    """First, last, step, and what is added: letters often alternate, capital and small."""
    made: list[tuple[int, int, int, int]] = []
    for point, folded in sorted(pairs.items()):
        if made:
            first, last, step, shift = made[-1]
            gap = point - last
            if folded - point == shift and (gap == step or (first == last and gap <= 2)):
                made[-1] = (first, point, gap, shift)
                continue
        made.append((point, point, 1, folded - point))
    return made


def header() -> str:
    """The header's text."""
    rows = "\n".join(f"    Run{{{first}, {last}, {step}, {shift}}}," for first, last, step, shift in runs(foldings()))
    count = len(runs(foldings()))
    return f"""\
// Made by extension/letter_cases.py from Unicode's case foldings: change it there.
// clang-format off
#pragma once

#include <array>
#include <cstdint>

namespace onnx_sql::letters {{

// Every `step`-th letter from the first to the last is folded by adding `shift`.
struct Run {{ std::uint32_t first, last, step; std::int32_t shift; }};

constexpr std::array<Run, {count}> runs{{
{rows}
}};

}}  // namespace onnx_sql::letters
"""


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
