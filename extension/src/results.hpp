// The columns that go back to SQL Server, in buffers that stay until the next chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "abi/sql.hpp"
#include "buffer.hpp"
#include "columns.hpp"

namespace onnx_sql {

// What SQL Server asks about a result column.
struct ResultType {
    sql::Type type = sql::Type::character;
    std::uint64_t size = 0;  // in bytes; of a decimal, its digits
    std::int16_t digits = 0;
    bool nullable = false;
};

// As many as the API can count.
constexpr std::size_t most_result_columns = std::numeric_limits<sql::USmallInt>::max();

class Results {
  public:
    // What comes back; the same for every chunk.
    void lay_out(std::vector<ResultType> types);
    [[nodiscard]] bool is_laid_out() const { return laid_out_; }
    [[nodiscard]] const std::vector<ResultType>& types() const { return types_; }

    // The bytes that a chunk of so many rows takes, as far as widths are fixed.
    [[nodiscard]] std::size_t bytes_for(std::size_t rows) const;
    // Gives memory back after a chunk that did not fit.
    void let_go() noexcept;

    // Makes room for a chunk; fixed columns hold `capacity` values, of which `rows` are given back.
    void begin(std::size_t rows, std::size_t capacity);

    // The values of a column of a fixed width.
    [[nodiscard]] std::byte* fixed(std::size_t column) { return columns_[column].data.data(); }
    // The bytes of a column whose values have their own lengths.
    [[nodiscard]] Buffer<std::byte>& bytes(std::size_t column) { return columns_[column].data; }
    // The column's own indicators, of `rows` values; at first, those of a fixed column say that nothing is NULL.
    [[nodiscard]] std::int32_t* indicators(std::size_t column);

    // Copies a key column as it came.
    void pass_through(std::size_t column, const Values& values);

    // The chunk is whole.
    void finish();
    [[nodiscard]] std::size_t rows() const { return rows_; }
    [[nodiscard]] void** data() { return data_.data(); }
    [[nodiscard]] std::int32_t** indicator_arrays() { return indicator_arrays_.data(); }

  private:
    struct ColumnData {
        Buffer<std::byte> data;
        Buffer<std::int32_t> indicators;
        bool has_indicators = false;
    };

    // An array that says "not NULL, so many bytes" of every row; columns without NULLs share it.
    std::int32_t* all_present(std::size_t width);

    bool laid_out_ = false;
    std::size_t rows_ = 0;
    std::vector<ResultType> types_;
    std::vector<ColumnData> columns_;
    std::map<std::size_t, Buffer<std::int32_t>> all_present_;
    std::vector<void*> data_;
    std::vector<std::int32_t*> indicator_arrays_;
};

}  // namespace onnx_sql
