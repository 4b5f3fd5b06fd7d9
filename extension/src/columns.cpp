#include "columns.hpp"

#include <algorithm>
#include <array>

#include "errors.hpp"
#include "names.hpp"

namespace onnx_sql {
namespace {

struct TypeFacts {
    sql::Type type;
    std::string_view text;
    std::size_t width;  // 0: each value has its own
};

constexpr std::array types = {
    TypeFacts{sql::Type::bit, "bit", 1},
    TypeFacts{sql::Type::uint8, "tinyint", 1},
    TypeFacts{sql::Type::int16, "smallint", 2},
    TypeFacts{sql::Type::int32, "int", 4},
    TypeFacts{sql::Type::int64, "bigint", 8},
    TypeFacts{sql::Type::real, "real", 4},
    TypeFacts{sql::Type::float64, "float", 8},
    TypeFacts{sql::Type::numeric, "decimal", sizeof(sql::Numeric)},
    TypeFacts{sql::Type::date, "date", 6},
    TypeFacts{sql::Type::time, "time", 6},
    TypeFacts{sql::Type::timestamp, "datetime2", 16},
    TypeFacts{sql::Type::guid, "uniqueidentifier", sizeof(sql::Guid)},
    TypeFacts{sql::Type::character, "varchar", 0},
    TypeFacts{sql::Type::wide_character, "nvarchar", 0},
    TypeFacts{sql::Type::binary, "varbinary", 0},
};

const TypeFacts* facts_of(sql::Type type) {
    const auto* found = std::find_if(types.begin(), types.end(), [&](const auto& facts) { return facts.type == type; });
    return found == types.end() ? nullptr : found;
}

void check_lengths(const Values& values) {
    for (std::size_t row = 0; row < values.rows; ++row) {
        if (values.indicators[row] >= sql::null_data) continue;
        fail(to_text(*values.column), ", ", row_text(values, row), ": the length is ", values.indicators[row],
             "; expected -1 for NULL, or the bytes of the value");
    }
}

// Whether some value is neither NULL nor empty.
bool needs_data(const Values& values) {
    if (values.indicators == nullptr) return true;
    const bool fixed = width_of(values.column->type, values.column->name) != 0;
    return std::any_of(values.indicators, values.indicators + values.rows,
                       [&](std::int32_t length) { return fixed ? length != sql::null_data : length > 0; });
}

}  // namespace

std::string_view to_text(sql::Type type) {
    const TypeFacts* facts = facts_of(type);
    return facts == nullptr ? "a type that the ONNX language does not know" : facts->text;
}

std::size_t width_of(sql::Type type, std::string_view column) {
    const TypeFacts* facts = facts_of(type);
    if (facts == nullptr) {
        fail("column ", quote(column), " has the C type ", static_cast<int>(type),
             ", which the ONNX language does not know; cast it in the query to a number, text, date or binary");
    }
    return facts->width;
}

std::string to_text(const Column& column) {
    return "column " + quote(column.name) + " (number " + std::to_string(column.number + 1) + ")";
}

const Column* find_column(const std::vector<Column>& columns, std::string_view name) {
    const Column* found = nullptr;
    std::size_t count = 0;
    for (const Column& column : columns) {
        if (column.name != name) continue;
        found = &column;
        ++count;
    }
    if (count == 0) {
        for (const Column& column : columns) {
            if (!same_but_for_case(column.name, name)) continue;
            found = &column;
            ++count;
        }
    }
    if (count > 1) fail("the query has ", count, " columns named ", quote(name), "; give each its own alias");
    return found;
}

Values open_values(const Column& column, const void* data, const std::int32_t* indicators, std::size_t rows,
                   std::uint64_t rows_before) {
    const bool fixed = width_of(column.type, column.name) != 0;
    Values values{&column, static_cast<const std::byte*>(data), indicators, false, rows, rows_before};
    if (rows == 0) return values;
    // What the indicators of a fixed column that is NOT NULL hold is undefined.
    if (fixed && !column.nullable) values.indicators = nullptr;
    if (!fixed && indicators != nullptr) check_lengths(values);
    if (data == nullptr) {
        values.all_null = values.indicators == nullptr && column.nullable;
        if (!values.all_null && needs_data(values)) fail(to_text(column), ": ", rows, " rows came without values");
    } else if (!fixed && indicators == nullptr) {
        fail(to_text(column), ": ", rows, " values came without their lengths");
    }
    return values;
}

std::size_t total_bytes(const Values& values) {
    const std::size_t width = width_of(values.column->type, values.column->name);
    if (width != 0) return width * values.rows;
    std::size_t total = 0;
    if (values.all_null) return total;
    for (std::size_t row = 0; row < values.rows; ++row)
        total += static_cast<std::size_t>(std::max(values.indicators[row], 0));
    return total;
}

std::string row_text(const Values& values, std::size_t row) {
    return "row " + std::to_string(values.rows_before + row + 1);
}

}  // namespace onnx_sql
