// libFuzzer's way through the library: options, column types, buffers, lengths and model bytes, all from the fuzzer's
// bytes. A host that gives buffers shorter than it says is no input: as SQL Server does, buffers here are as long as
// lengths say.
//
//   ONNXRUNTIME_LIBRARY=.../libonnxruntime.so.1 ./fuzz_session -seed_inputs=model.onnx -max_len=65536
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../src/abi/sql.hpp"

namespace sql = onnx_sql::sql;

extern "C" {
sql::Return Init(sql::Char*, sql::ULen, sql::Char*, sql::ULen, sql::Char*, sql::ULen, sql::Char*, sql::ULen);
sql::Return InitSession(sql::Guid, sql::USmallInt, sql::USmallInt, sql::Char*, sql::ULen, sql::USmallInt,
                        sql::USmallInt, sql::Char*, sql::USmallInt, sql::Char*, sql::USmallInt);
sql::Return InitColumn(sql::Guid, sql::USmallInt, sql::USmallInt, sql::Char*, sql::SmallInt, sql::SmallInt, sql::ULen,
                       sql::SmallInt, sql::SmallInt, sql::SmallInt, sql::SmallInt);
sql::Return InitParam(sql::Guid, sql::USmallInt, sql::USmallInt, sql::Char*, sql::SmallInt, sql::SmallInt, sql::ULen,
                      sql::SmallInt, sql::Pointer, sql::Integer, sql::SmallInt);
sql::Return Execute(sql::Guid, sql::USmallInt, sql::ULen, sql::Pointer*, sql::Integer**, sql::USmallInt*);
sql::Return GetResultColumn(sql::Guid, sql::USmallInt, sql::USmallInt, sql::SmallInt*, sql::ULen*, sql::SmallInt*,
                            sql::SmallInt*);
sql::Return GetResults(sql::Guid, sql::USmallInt, sql::ULen*, sql::Pointer**, sql::Integer***);
sql::Return CleanupSession(sql::Guid, sql::USmallInt);
}

namespace {

// Takes values off the front of the fuzzer's bytes; zeros once they are used up.
class Bytes {
  public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

    template <class T>
    T take() {
        T value{};
        const std::size_t size = std::min(sizeof(T), left_);
        if (size > 0) std::memcpy(&value, data_, size);
        skip(size);
        return value;
    }

    std::vector<std::uint8_t> take(std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        const std::size_t present = std::min(size, left_);
        if (present > 0) std::memcpy(bytes.data(), data_, present);
        skip(present);
        return bytes;
    }

    std::vector<std::uint8_t> rest() { return take(left_); }

  private:
    void skip(std::size_t size) {
        data_ += size;
        left_ -= size;
    }

    const std::uint8_t* data_;
    std::size_t left_;
};

struct FuzzColumn {
    std::string name;
    sql::SmallInt type = 0;
    std::size_t width = 0;  // 0: each value has its own
    std::vector<std::uint8_t> data;
    std::vector<sql::Integer> indicators;
};

struct FuzzType {
    sql::SmallInt type;
    std::size_t width;
};

constexpr std::array types = {FuzzType{-7, 1}, FuzzType{-28, 1}, FuzzType{-15, 2}, FuzzType{-16, 4}, FuzzType{-25, 8},
                              FuzzType{7, 4},  FuzzType{8, 8},   FuzzType{1, 0},   FuzzType{-8, 0},  FuzzType{-2, 0},
                              FuzzType{2, 19}, FuzzType{91, 6},  FuzzType{93, 16}, FuzzType{-11, 16}};

sql::Char* text(std::string& value) { return reinterpret_cast<sql::Char*>(value.data()); }

// Values and lengths as a host sends them: a negative length other than NULL's is the one lie that is worth telling.
void fill(FuzzColumn& column, std::size_t rows, Bytes& bytes) {
    for (std::size_t row = 0; row < rows; ++row) {
        auto length = static_cast<sql::Integer>(bytes.take<std::int8_t>() % 32);
        if (length < 0 && bytes.take<std::uint8_t>() != 0) length = sql::null_data;
        column.indicators.push_back(length);
        const std::size_t size = column.width > 0 ? column.width : static_cast<std::size_t>(std::max(length, 0));
        const auto value = bytes.take(size);
        column.data.insert(column.data.end(), value.begin(), value.end());
    }
    column.data.shrink_to_fit();
}

void read_results(sql::Guid id, sql::USmallInt count) {
    sql::ULen rows = 0;
    sql::Pointer* data = nullptr;
    sql::Integer** indicators = nullptr;
    if (GetResults(id, 0, &rows, &data, &indicators) != sql::success) std::abort();
    for (sql::USmallInt number = 0; number < count; ++number) {
        sql::SmallInt type = 0;
        sql::ULen size = 0;
        sql::SmallInt digits = 0;
        sql::SmallInt nullable = 0;
        if (GetResultColumn(id, 0, number, &type, &size, &digits, &nullable) != sql::success) std::abort();
        const auto* found = std::find_if(types.begin(), types.end(), [&](const FuzzType& t) { return t.type == type; });
        if (found == types.end()) std::abort();
        // Touches every byte that a host would read.
        volatile std::uint8_t sink = 0;
        const auto* values = static_cast<const std::uint8_t*>(data[number]);
        for (std::size_t row = 0; row < rows; ++row) {
            const sql::Integer length = indicators[number][row];
            const std::size_t bytes = found->width > 0 ? found->width : static_cast<std::size_t>(std::max(length, 0));
            for (std::size_t index = 0; index < bytes; ++index) sink = *values++;
        }
        (void)sink;
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
    return Init(nullptr, 0, nullptr, 0, nullptr, 0, nullptr, 0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes bytes(data, size);
    const sql::Guid id{};
    std::string name = "data";
    const auto script_bytes = bytes.take(bytes.take<std::uint8_t>());
    std::string script(script_bytes.begin(), script_bytes.end());
    std::vector<FuzzColumn> columns(bytes.take<std::uint8_t>() % 8U);
    if (InitSession(id, 0, 1, text(script), script.size(), static_cast<sql::USmallInt>(columns.size()), 1, text(name),
                    4, text(name), 4) != sql::success) {
        return 0;
    }
    for (std::size_t number = 0; number < columns.size(); ++number) {
        FuzzColumn& column = columns[number];
        const FuzzType& type = types[bytes.take<std::uint8_t>() % types.size()];
        column.name = std::string(1, static_cast<char>('a' + number));
        column.type = type.type;
        column.width = type.width;
        InitColumn(id, 0, static_cast<sql::USmallInt>(number), text(column.name), 1, type.type,
                   bytes.take<std::uint16_t>(), bytes.take<std::int8_t>(), bytes.take<std::uint8_t>() & 1, 0, 0);
    }
    const std::size_t rows = bytes.take<std::uint8_t>() % 64U;
    const int chunks = 1 + bytes.take<std::uint8_t>() % 2;
    for (FuzzColumn& column : columns) fill(column, rows, bytes);
    std::string parameter = "@model";
    auto model = bytes.rest();
    InitParam(id, 0, 0, text(parameter), 6, -2, model.size(), 0, model.data(), static_cast<sql::Integer>(model.size()),
              1);
    std::vector<sql::Pointer> pointers;
    std::vector<sql::Integer*> indicators;
    for (FuzzColumn& column : columns) {
        pointers.push_back(column.data.data());
        indicators.push_back(column.indicators.data());
    }
    for (int chunk = 0; chunk < chunks; ++chunk) {
        sql::USmallInt count = 0;
        if (Execute(id, 0, rows, pointers.data(), indicators.data(), &count) == sql::success) read_results(id, count);
    }
    CleanupSession(id, 0);
    return 0;
}
