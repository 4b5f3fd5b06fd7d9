// What SQL Server calls. No exception leaves a function: an error is a line on stderr and a return code.
// https://learn.microsoft.com/sql/language-extensions/reference/extensibility-framework-api
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "abi/sql.hpp"
#include "columns.hpp"
#include "errors.hpp"
#include "library.hpp"
#include "sessions.hpp"

namespace {

using namespace onnx_sql;  // NOLINT(google-build-using-namespace): this file is the library's face

constexpr sql::USmallInt interface_version = 2;

// Lives until the process ends: ONNX Runtime's own statics may be gone before ours would be.
Sessions& sessions() {
    static auto& all = *std::make_unique<Sessions>().release();
    return all;
}

// Runs a call's body, and turns what it throws into a message and a return code.
template <class Body>
sql::Return guarded(Body body) noexcept {
    try {
        body();
        return sql::success;
    } catch (const std::bad_alloc&) {
        report("out of memory");
    } catch (const std::exception& error) {
        report(error.what());
    } catch (...) {
        report("an unknown error");
    }
    return sql::error;
}

std::string_view text(const sql::Char* bytes, std::size_t length) {
    std::string_view view(reinterpret_cast<const char*>(bytes), bytes == nullptr ? 0 : length);
    while (!view.empty() && view.back() == '\0') view.remove_suffix(1);  // some hosts count the end mark
    return view;
}

// A name that must be there.
std::string name(const sql::Char* bytes, sql::SmallInt length, std::string_view what) {
    if (bytes == nullptr || length < 0) fail(what, " came without a name");
    return std::string(text(bytes, static_cast<std::size_t>(length)));
}

template <class T>
T& required(T* pointer, std::string_view what) {
    if (pointer == nullptr) fail("SQL Server gave no place for ", what);
    return *pointer;
}

std::filesystem::path path(std::string_view bytes) { return std::filesystem::u8path(bytes); }

}  // namespace

extern "C" {

ONNX_SQL_EXPORT sql::USmallInt GetInterfaceVersion() { return interface_version; }

ONNX_SQL_EXPORT sql::Return Init(sql::Char* parameters, sql::ULen parameters_length, sql::Char* extension_path,
                                 sql::ULen extension_path_length, sql::Char* /*public_library_path*/,
                                 sql::ULen /*public_library_path_length*/, sql::Char* /*private_library_path*/,
                                 sql::ULen /*private_library_path_length*/) {
    return guarded([&] {
        // Nothing in this library changes the environment.
        const char* variable = std::getenv("ONNXRUNTIME_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
        sessions().init({own_folder(), path(variable == nullptr ? "" : variable),
                         path(text(parameters, parameters_length)), path(text(extension_path, extension_path_length))});
    });
}

ONNX_SQL_EXPORT sql::Return InitSession(sql::Guid session, sql::USmallInt task, sql::USmallInt /*tasks*/,
                                        sql::Char* script, sql::ULen script_length, sql::USmallInt columns,
                                        sql::USmallInt parameters, sql::Char* input_name,
                                        sql::USmallInt /*input_name_length*/, sql::Char* output_name,
                                        sql::USmallInt /*output_name_length*/) {
    return guarded([&] {
        if (script == nullptr) fail("@script is NULL; write options as name = value lines, or an empty text");
        if (input_name == nullptr || output_name == nullptr) fail("a data set came without a name");
        sessions().open(session, task, [&](const Runtime& runtime) {
            return std::make_shared<Session>(runtime, text(script, script_length), columns, parameters);
        });
    });
}

ONNX_SQL_EXPORT sql::Return InitColumn(sql::Guid session, sql::USmallInt task, sql::USmallInt number,
                                       sql::Char* column_name, sql::SmallInt name_length, sql::SmallInt type,
                                       sql::ULen size, sql::SmallInt digits, sql::SmallInt nullable,
                                       sql::SmallInt /*partition_by*/, sql::SmallInt /*order_by*/) {
    return guarded([&] {
        sessions().with(session, task, [&](Session& open) {
            open.set_column({number, name(column_name, name_length, "a column"), static_cast<sql::Type>(type), size,
                             digits, nullable != 0});
        });
    });
}

ONNX_SQL_EXPORT sql::Return InitParam(sql::Guid session, sql::USmallInt task, sql::USmallInt number,
                                      sql::Char* parameter_name, sql::SmallInt name_length, sql::SmallInt type,
                                      sql::ULen /*size*/, sql::SmallInt /*digits*/, sql::Pointer value,
                                      sql::Integer length_or_indicator, sql::SmallInt /*direction*/) {
    return guarded([&] {
        sessions().with(session, task, [&](Session& open) {
            open.set_parameter({number, name(parameter_name, name_length, "a parameter"), static_cast<sql::Type>(type),
                                value, length_or_indicator});
        });
    });
}

ONNX_SQL_EXPORT sql::Return Execute(sql::Guid session, sql::USmallInt task, sql::ULen rows, sql::Pointer* data,
                                    sql::Integer** indicators, sql::USmallInt* result_columns) {
    return guarded([&] {
        sql::USmallInt& count = required(result_columns, "the number of result columns");
        sessions().with(session, task, [&](Session& open) {
            count = static_cast<sql::USmallInt>(open.execute(rows, data, indicators));
        });
    });
}

ONNX_SQL_EXPORT sql::Return GetResultColumn(sql::Guid session, sql::USmallInt task, sql::USmallInt number,
                                            sql::SmallInt* type, sql::ULen* size, sql::SmallInt* digits,
                                            sql::SmallInt* nullable) {
    return guarded([&] {
        sessions().with(session, task, [&](Session& open) {
            const ResultType& result = open.result_type(number);
            required(type, "a result column's type") = static_cast<sql::SmallInt>(result.type);
            required(size, "a result column's size") = result.size;
            required(digits, "a result column's digits") = result.digits;
            required(nullable, "whether a result column may be NULL") = result.nullable ? 1 : 0;
        });
    });
}

ONNX_SQL_EXPORT sql::Return GetResults(sql::Guid session, sql::USmallInt task, sql::ULen* rows, sql::Pointer** data,
                                       sql::Integer*** indicators) {
    return guarded([&] {
        sessions().with(session, task, [&](Session& open) {
            Results& results = open.results();
            required(rows, "the number of rows") = results.rows();
            required(data, "the results") = results.data();
            required(indicators, "the results' lengths") = results.indicator_arrays();
        });
    });
}

// The language sets no OUTPUT parameter: each is NULL.
ONNX_SQL_EXPORT sql::Return GetOutputParam(sql::Guid session, sql::USmallInt task, sql::USmallInt number,
                                           sql::Pointer* value, sql::Integer* length_or_indicator) {
    return guarded([&] {
        sessions().with(session, task, [&](Session& open) {
            open.check_parameter(number);
            required(value, "a parameter's value") = nullptr;
            required(length_or_indicator, "a parameter's length") = sql::null_data;
        });
    });
}

ONNX_SQL_EXPORT sql::Return CleanupSession(sql::Guid session, sql::USmallInt task) {
    return guarded([&] { sessions().close(session, task); });
}

ONNX_SQL_EXPORT sql::Return Cleanup() {
    return guarded([] { sessions().cleanup(); });
}

}  // extern "C"
