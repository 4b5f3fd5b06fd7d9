"""Writes src/generated/column_types.hpp: the rules of `onnx_pipeline.base.rules`, which the extension goes by too.

Run `.venv/bin/python extension/column_types.py` after the rules changed: a test fails until then.
"""

from pathlib import Path

from onnx_pipeline.base.rules import FILLS, Family, Rule, largest

HEADER = Path(__file__).parent / "src" / "generated" / "column_types.hpp"

_FAMILIES = {
    Family.BOOL: "boolean",
    Family.INTEGER: "integer",
    Family.FLOAT: "floating",
    Family.DECIMAL: "decimal",
    Family.TEXT: "text",
}
_RULES = {Rule.SAME: "same", Rule.IN_RANGE: "in_range", Rule.WHOLE: "whole", Rule.NEAREST: "nearest"}


def header() -> str:
    """The header's text."""
    rules = "\n".join(f"    {name},  // {rule.value}" for rule, name in _RULES.items())
    cases = "\n".join(
        f"    if (column == Family::{_FAMILIES[column]} && tensor == Family::{_FAMILIES[tensor]}) "
        f"return Rule::{_RULES[rule]};"
        for (column, tensor), rule in FILLS.items()
    )
    return f"""\
// Made by extension/column_types.py from onnx_pipeline/base/rules.py: change the rules there.
// clang-format off
#pragma once

namespace onnx_sql::rules {{

enum class Family {{ {", ".join(_FAMILIES.values())} }};

// What becomes of a value of a column in a tensor. NaN in a column of floats is NULL. A number is read as the nearest
// double, and that is rounded to the tensor's float.
enum class Rule {{
    none,  // column and tensor do not go together
{rules}
}};

constexpr Rule rule(Family column, Family tensor) {{
{cases}
    return Rule::none;
}}

// The greatest finite values.
constexpr double largest_float16 = {largest("float16")!r};
constexpr double largest_float32 = {largest("float")!r};

}}  // namespace onnx_sql::rules
"""


if __name__ == "__main__":
    HEADER.parent.mkdir(exist_ok=True)
    HEADER.write_text(header(), encoding="utf-8")
