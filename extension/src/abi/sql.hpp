// SQL Server's extensibility API, version 2, in our own words: the types that cross the boundary.
// https://learn.microsoft.com/sql/language-extensions/reference/extensibility-framework-api
#pragma once

#include <array>
#include <cstdint>

#if defined(_WIN32)
#define ONNX_SQL_EXPORT __declspec(dllexport)
#else
#define ONNX_SQL_EXPORT __attribute__((visibility("default")))
#endif

namespace onnx_sql::sql {

using Char = unsigned char;
using SmallInt = std::int16_t;
using USmallInt = std::uint16_t;
using Integer = std::int32_t;
using ULen = std::uint64_t;
using Pointer = void*;
using Return = std::int16_t;

constexpr Return success = 0;
constexpr Return error = -1;

// What an indicator says of a NULL; anything else is a length in bytes.
constexpr Integer null_data = -1;

struct Guid {
    std::uint32_t data1;
    std::uint16_t data2;
    std::uint16_t data3;
    std::array<std::uint8_t, 8> data4;
};

// ODBC's C type codes, as far as SQL Server sends them to an extension.
enum class Type : SmallInt {
    character = 1,
    numeric = 2,
    real = 7,
    float64 = 8,
    date = 91,
    time = 92,
    timestamp = 93,
    binary = -2,
    bit = -7,
    wide_character = -8,
    guid = -11,
    int16 = -15,
    int32 = -16,
    int64 = -25,
    uint8 = -28,
};

// ODBC's SQL_NUMERIC_STRUCT: sign * value * 10^-scale; sign 1 is plus, 0 minus; value is little-endian.
struct Numeric {
    std::uint8_t precision;
    std::int8_t scale;
    std::uint8_t sign;
    std::array<std::uint8_t, 16> value;
};
static_assert(sizeof(Numeric) == 19);
static_assert(sizeof(Guid) == 16);

}  // namespace onnx_sql::sql
