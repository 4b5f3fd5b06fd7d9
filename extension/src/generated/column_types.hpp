// Made by extension/column_types.py from onnx_pipeline/base/rules.py: change the rules there.
// clang-format off
#pragma once

namespace onnx_sql::rules {

enum class Family { boolean, integer, floating, decimal, text };

// What becomes of a value of a column in a tensor. NaN in a column of floats is NULL. A number is read as the nearest
// double, and that is rounded to the tensor's float.
enum class Rule {
    none,  // column and tensor do not go together
    same,  // stays what it is
    in_range,  // stays what it is; out of range is an error
    whole,  // stays what it is; a fraction, infinity or out of range is an error
    nearest,  // rounded to the nearest; beyond the range is an error, and infinity stays infinity
};

constexpr Rule rule(Family column, Family tensor) {
    if (column == Family::boolean && tensor == Family::boolean) return Rule::same;
    if (column == Family::boolean && tensor == Family::integer) return Rule::same;
    if (column == Family::boolean && tensor == Family::floating) return Rule::same;
    if (column == Family::integer && tensor == Family::integer) return Rule::in_range;
    if (column == Family::integer && tensor == Family::floating) return Rule::nearest;
    if (column == Family::floating && tensor == Family::integer) return Rule::whole;
    if (column == Family::floating && tensor == Family::floating) return Rule::nearest;
    if (column == Family::decimal && tensor == Family::integer) return Rule::whole;
    if (column == Family::decimal && tensor == Family::floating) return Rule::nearest;
    if (column == Family::text && tensor == Family::text) return Rule::same;
    return Rule::none;
}

// The greatest finite values.
constexpr double largest_float16 = 65504.0;
constexpr double largest_float32 = 3.4028234663852886e+38;

}  // namespace onnx_sql::rules
