#include "results.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "errors.hpp"

namespace onnx_sql {
namespace {

// The values as they came, and zeros under each NULL of a fixed width: neither the host's garbage nor what lay in this
// memory before goes back.
void copy_values(const Values& values, std::size_t width, Buffer<std::byte>& bytes) {
    if (bytes.empty()) return;
    if (values.data == nullptr) {
        std::fill(bytes.begin(), bytes.end(), std::byte{0});
        return;
    }
    std::memcpy(bytes.data(), values.data, bytes.size());
    if (width == 0 || values.indicators == nullptr) return;
    for (std::size_t row = 0; row < values.rows; ++row) {
        if (values.indicators[row] == sql::null_data) std::memset(bytes.data() + row * width, 0, width);
    }
}

}  // namespace

void Results::lay_out(std::vector<ResultType> types) {
    if (types.size() > most_result_columns) {
        fail("the result would have ", types.size(), " columns; choose some with outputs = ... in @script");
    }
    types_ = std::move(types);
    columns_.resize(types_.size());
    laid_out_ = true;
}

std::size_t Results::bytes_for(std::size_t rows) const {
    return std::accumulate(types_.begin(), types_.end(), std::size_t{0}, [&](std::size_t sum, const ResultType& type) {
        return sum + rows * (width_of(type.type, "") + sizeof(std::int32_t));
    });
}

void Results::let_go() noexcept {
    for (ColumnData& column : columns_) column = {};
    all_present_.clear();
    rows_ = 0;
}

void Results::begin(std::size_t rows, std::size_t capacity) {
    rows_ = rows;
    for (std::size_t index = 0; index < types_.size(); ++index) {
        const std::size_t width = width_of(types_[index].type, "");
        columns_[index].has_indicators = false;
        columns_[index].data.resize(width * capacity);
    }
}

std::int32_t* Results::indicators(std::size_t column) {
    ColumnData& data = columns_[column];
    if (!data.has_indicators) {
        data.indicators.resize(rows_);
        const std::size_t width = width_of(types_[column].type, "");
        if (width > 0) std::fill(data.indicators.begin(), data.indicators.end(), static_cast<std::int32_t>(width));
        data.has_indicators = true;
    }
    return data.indicators.data();
}

void Results::pass_through(std::size_t column, const Values& values) {
    const std::size_t width = width_of(values.column->type, values.column->name);
    const std::size_t size = total_bytes(values);
    Buffer<std::byte>& bytes = columns_[column].data;
    bytes.resize(size);
    copy_values(values, width, bytes);
    if (values.rows == 0 || (width > 0 && values.indicators == nullptr && !values.all_null)) return;
    std::int32_t* indicators = this->indicators(column);
    std::int32_t longest = 0;
    for (std::size_t row = 0; row < values.rows; ++row) {
        const bool is_null = values.all_null || values.indicators[row] == sql::null_data;
        indicators[row] = is_null     ? sql::null_data
                          : width > 0 ? static_cast<std::int32_t>(width)
                                      : values.indicators[row];
        longest = std::max(longest, indicators[row]);
    }
    // The host refuses a value that is longer than its column.
    if (width == 0) types_[column].size = std::max(types_[column].size, static_cast<std::uint64_t>(longest));
}

std::int32_t* Results::all_present(std::size_t width) {
    Buffer<std::int32_t>& shared = all_present_[width];
    if (shared.size() < rows_) shared.assign(rows_, static_cast<std::int32_t>(width));
    return shared.data();
}

void Results::finish() {
    data_.clear();
    indicator_arrays_.clear();
    for (std::size_t index = 0; index < types_.size(); ++index) {
        ColumnData& column = columns_[index];
        const std::size_t width = width_of(types_[index].type, "");
        data_.push_back(column.data.data());
        const bool own = column.has_indicators || width == 0;
        indicator_arrays_.push_back(own ? indicators(index) : all_present(width));
    }
}

}  // namespace onnx_sql
