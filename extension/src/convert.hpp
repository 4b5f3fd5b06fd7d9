// From the values of a column to the elements of a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "columns.hpp"
#include "half.hpp"
#include "model.hpp"

namespace onnx_sql {

// Whether a NULL may stand in a tensor, and as what. NaN in a column of floats is NULL.
template <class Element>
struct NullRule {
    bool allowed = false;
    Element stand_in{};
    // Whether what stands in is NaN, so that NaN need not be looked for.
    bool is_nan = false;
};

// A bool tensor's element: one byte, 0 or 1.
enum class Bool : std::uint8_t { no = 0, yes = 1 };

// Writes the elements of rows [first, first + count) to `target`.
template <class Element>
using Gather = void (*)(const Values& values, std::size_t first, std::size_t count, Element* target,
                        const NullRule<Element>& nulls);

// A column's elements where they lie, and what stands in where an indicator says NULL.
template <class Element>
struct Run {
    const Element* elements = nullptr;
    const std::int32_t* indicators = nullptr;  // null: nothing is NULL
    Element stand_in{};
};

// The elements of rows [first, first + count) where the host put them; no elements where they need conversion, hold a
// NULL that may not be or may hold NaN that something stands in for, or are not aligned.
template <class Element>
Run<Element> in_place(const Values& values, std::size_t first, std::size_t count, const NullRule<Element>& nulls);

// The function that turns a column of that type into such elements, by generated/column_types.hpp; null where the types
// do not go together.
template <class Element>
Gather<Element> gather_for(const Column& column);

// Whether an element is NaN; only floats are.
template <class Element>
bool is_nan(Element element);

// What `text` is as an element; nothing where it is none.
template <class Element>
std::optional<Element> parse_element(const std::string& text);

// Raises the Error for a NULL where none may be.
[[noreturn]] void refuse_null(const Values& values, std::size_t row);

}  // namespace onnx_sql
