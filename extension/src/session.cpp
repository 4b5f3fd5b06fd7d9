#include "session.hpp"

#include <algorithm>
#include <new>
#include <numeric>

#include "errors.hpp"

namespace onnx_sql {
namespace {

// A count that is surely wrong, before it overflows a size in bytes.
constexpr std::size_t most_rows = std::size_t{1} << 40U;

// The bytes of a chunk as it came, as far as its lengths say.
std::size_t bytes_of(const std::vector<Values>& chunk) {
    return std::accumulate(chunk.begin(), chunk.end(), std::size_t{0}, [](std::size_t sum, const Values& values) {
        return sum + (values.data == nullptr ? 0 : total_bytes(values)) +
               (values.indicators == nullptr ? 0 : values.rows * sizeof(std::int32_t));
    });
}

bool names_the_model(std::string_view name) {
    if (!name.empty() && name.front() == '@') name.remove_prefix(1);
    constexpr std::string_view model = "model";
    return std::equal(name.begin(), name.end(), model.begin(), model.end(),
                      [](char a, char b) { return a == b || a == b - 'a' + 'A'; });
}

}  // namespace

Session::Session(const Runtime& runtime, std::string_view script, std::size_t columns, std::size_t parameters)
    : runtime_(runtime), options_(parse_options(script)), parameter_count_(parameters), announced_(columns) {}

void Session::set_column(const Column& column) {
    if (column.number >= announced_.size()) {
        fail("column number ", column.number + 1, " came, but the query has ", announced_.size());
    }
    if (scorer_ != nullptr) fail(to_text(column), " came after the first rows");
    width_of(column.type, column.name);  // raises for a type that the language does not know
    announced_[column.number] = column;
}

void Session::set_parameter(const Parameter& parameter) {
    check_parameter(parameter.number);
    if (!names_the_model(parameter.name)) return;
    if (scorer_ != nullptr) fail("the parameter @model came after the first rows");
    if (parameter.type != sql::Type::binary) {
        fail("the parameter @model is ", to_text(parameter.type), "; declare it as varbinary(max)");
    }
    const std::int32_t length = parameter.length_or_indicator;
    if (length < sql::null_data) {
        fail("the parameter @model came with the length ", length, "; expected -1 for NULL, or the bytes of the model");
    }
    if (length == sql::null_data) {
        fail(
            "the parameter @model is NULL; expected the bytes of an ONNX model. Does the models table hold that "
            "model?");
    }
    if (length == 0) fail("the parameter @model is empty; expected the bytes of an ONNX model");
    if (parameter.value == nullptr) fail("the parameter @model has ", length, " bytes, and came without them");
    try {
        model_ = std::make_unique<Model>(runtime_, parameter.value, static_cast<std::size_t>(length), options_.threads);
    } catch (const std::bad_alloc&) {
        fail("a model of ", length,
             " bytes does not fit in memory; register a smaller one, or let the resource pool of ",
             "external scripts have more (ALTER EXTERNAL RESOURCE POOL)");
    }
}

void Session::open_scorer() {
    if (model_ == nullptr) {
        fail("no model came; write @params = N'@model varbinary(max)', @model = ... in sp_execute_external_script");
    }
    columns_.clear();
    for (std::size_t number = 0; number < announced_.size(); ++number) {
        const std::optional<Column>& column = announced_[number];
        if (!column) fail("column number ", number + 1, " of ", announced_.size(), " was not announced");
        columns_.push_back(*column);
    }
    scorer_ = std::make_unique<Scorer>(*model_, columns_, options_);
}

std::vector<Values> Session::open_chunk(std::size_t rows, void* const* data,
                                        const std::int32_t* const* indicators) const {
    if (rows > 0 && data == nullptr && !columns_.empty()) fail(rows, " rows came without their columns");
    std::vector<Values> chunk;
    chunk.reserve(columns_.size());
    for (const Column& column : columns_) {
        chunk.push_back(open_values(column, data == nullptr ? nullptr : data[column.number],
                                    indicators == nullptr ? nullptr : indicators[column.number], rows, rows_before_));
    }
    return chunk;
}

std::size_t Session::execute(std::size_t rows, void* const* data, const std::int32_t* const* indicators) {
    has_results_ = false;
    if (rows > most_rows) fail("a chunk of ", rows, " rows came; the most is ", most_rows);
    if (scorer_ == nullptr) open_scorer();
    const std::vector<Values> chunk = open_chunk(rows, data, indicators);
    try {
        scorer_->score(chunk, rows, results_);
    } catch (const std::bad_alloc&) {
        results_.let_go();
        fail("out of memory: a chunk of ", rows, " rows and ", columns_.size(), " columns, ", bytes_of(chunk),
             " bytes, came, and its results take up to ", results_.bytes_for(rows),
             " bytes; let fewer rows come at once by @r_rowsPerRead (@rows_per_read of sp_onnx_scoring), or let the ",
             "resource pool of external scripts have more memory (ALTER EXTERNAL RESOURCE POOL)");
    }
    rows_before_ += rows;
    has_results_ = true;
    return results_.types().size();
}

const ResultType& Session::result_type(std::size_t column) const {
    if (!has_results_) fail("a result column was asked for before rows were scored");
    if (column >= results_.types().size()) {
        fail("result column number ", column + 1, " was asked for; there are ", results_.types().size());
    }
    return results_.types()[column];
}

Results& Session::results() {
    if (!has_results_) fail("results were asked for before rows were scored");
    return results_;
}

void Session::check_parameter(std::size_t number) const {
    if (number >= parameter_count_) fail("parameter number ", number + 1, " came, but there are ", parameter_count_);
}

}  // namespace onnx_sql
