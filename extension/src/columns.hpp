// SQL columns: what a column is, and the buffers in which its values come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "abi/sql.hpp"

namespace onnx_sql {

struct Column {
    std::size_t number = 0;  // from 0, as the host counts
    std::string name;
    sql::Type type = sql::Type::character;
    std::uint64_t size = 0;
    std::int16_t digits = 0;
    bool nullable = true;
};

// The type of SQL Server that arrives as this C type, as in "nvarchar".
std::string_view to_text(sql::Type type);

// The bytes that a value takes; 0 where each value has its own length. Raises Error for a type that no column can have.
std::size_t width_of(sql::Type type, std::string_view column);

// "column 'age' (number 3)", counted from 1.
std::string to_text(const Column& column);

// The column of that name: exactly, else without regard to case. Null where there is none. Raises Error where several
// fit.
const Column* find_column(const std::vector<Column>& columns, std::string_view name);

// The values of one column in one chunk; the host owns the buffers.
//
// Values of a fixed width lie in an array, with garbage where they are NULL. Others lie one after the other, without
// padding and without those that are NULL; their lengths in bytes are the indicators.
struct Values {
    const Column* column = nullptr;
    const std::byte* data = nullptr;
    // Null where no value is NULL and the width is fixed.
    const std::int32_t* indicators = nullptr;
    bool all_null = false;
    std::size_t rows = 0;
    // Rows of the chunks before, to name a row in a message.
    std::uint64_t rows_before = 0;
};

// Looks at a column's buffers and says what they hold. Raises Error where they contradict the column's type.
Values open_values(const Column& column, const void* data, const std::int32_t* indicators, std::size_t rows,
                   std::uint64_t rows_before);

// The bytes that the values of `rows` rows take together.
std::size_t total_bytes(const Values& values);

// "row 17", counted from 1 over all chunks.
std::string row_text(const Values& values, std::size_t row);

}  // namespace onnx_sql
