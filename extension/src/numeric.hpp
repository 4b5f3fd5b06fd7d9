// SQL Server's decimal and numeric.
#pragma once

#include <cstdint>
#include <optional>

#include "abi/sql.hpp"

namespace onnx_sql {

// The double nearest to the decimal.
double to_double(const sql::Numeric& numeric);

// The decimal as an integer of 64 bits; nothing where it has a fraction or does not fit.
std::optional<std::int64_t> to_int64(const sql::Numeric& numeric);

}  // namespace onnx_sql
