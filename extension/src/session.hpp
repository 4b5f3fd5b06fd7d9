// What one task of one query tells the library, in the order of the API.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "abi/sql.hpp"
#include "columns.hpp"
#include "model.hpp"
#include "options.hpp"
#include "results.hpp"
#include "runtime.hpp"
#include "scorer.hpp"

namespace onnx_sql {

// A parameter as it came; the host owns the value.
struct Parameter {
    std::size_t number = 0;
    std::string name;
    sql::Type type = sql::Type::character;
    const void* value = nullptr;
    std::int32_t length_or_indicator = 0;
};

class Session {
  public:
    Session(const Runtime& runtime, std::string_view script, std::size_t columns, std::size_t parameters);

    void set_column(const Column& column);
    // Takes the model from @model; other parameters are for the query.
    void set_parameter(const Parameter& parameter);

    // Scores a chunk; returns how many result columns there are.
    std::size_t execute(std::size_t rows, void* const* data, const std::int32_t* const* indicators);

    [[nodiscard]] const ResultType& result_type(std::size_t column) const;
    // Raises Error where no chunk has been scored.
    [[nodiscard]] Results& results();
    // Raises Error where there is no such parameter.
    void check_parameter(std::size_t number) const;

  private:
    void open_scorer();
    [[nodiscard]] std::vector<Values> open_chunk(std::size_t rows, void* const* data,
                                                 const std::int32_t* const* indicators) const;

    const Runtime& runtime_;
    Options options_;
    std::size_t parameter_count_;
    std::vector<std::optional<Column>> announced_;
    std::vector<Column> columns_;
    std::unique_ptr<Model> model_;
    std::unique_ptr<Scorer> scorer_;
    std::uint64_t rows_before_ = 0;
    bool has_results_ = false;
    Results results_;
};

}  // namespace onnx_sql
