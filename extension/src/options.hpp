// What stands in @script.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onnx_sql {

// An output to return, or one column of an [N, K] output.
struct OutputChoice {
    std::string name;
    std::optional<std::size_t> column;
};

// Rows that go to ONNX Runtime at once, at most.
constexpr std::size_t largest_batch = std::size_t{1} << 24U;

struct Options {
    // Columns that pass through, in the order in which they come back.
    std::vector<std::string> keys;
    // Columns of the model's [N, F] input, in the order of training; empty: all that nothing else claims.
    std::vector<std::string> features;
    // Empty: every output, in the model's order.
    std::vector<OutputChoice> outputs;
    // A NULL in an input of floats is an error, not NaN.
    bool strict_nulls = false;
    // What stands in for NULL, by column.
    std::map<std::string, std::string> stand_ins;
    // Threads of ONNX Runtime for each task; 0 lets it choose. 1 because SQL Server parallelises over tasks, and
    // because two threads were slower than one on tables of a million rows.
    int threads = 1;
    // Rows that go to ONNX Runtime at once; 0: as many as fit the cache.
    std::size_t batch = 0;
    // The n of nvarchar(n) of an output of strings.
    std::size_t text_length = 4000;
};

// Reads `name = value` lines. Raises Error, naming the line, for what is none of them.
Options parse_options(std::string_view script);

}  // namespace onnx_sql
