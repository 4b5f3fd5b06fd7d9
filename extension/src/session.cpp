#include "session.hpp"

#include <algorithm>

#include "errors.hpp"

namespace onnx_sql {
namespace {

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
    if (parameter.value == nullptr || parameter.length_or_indicator < 0) {
        fail(
            "the parameter @model is NULL; expected the bytes of an ONNX model. Does the models table hold that "
            "model?");
    }
    if (parameter.length_or_indicator == 0) fail("the parameter @model is empty; expected the bytes of an ONNX model");
    model_ = std::make_unique<Model>(runtime_, parameter.value, static_cast<std::size_t>(parameter.length_or_indicator),
                                     options_.threads);
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
    if (scorer_ == nullptr) open_scorer();
    scorer_->score(open_chunk(rows, data, indicators), rows, results_);
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
