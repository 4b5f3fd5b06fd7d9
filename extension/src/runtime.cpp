#include "runtime.hpp"

#include <array>
#include <new>
#include <string>
#include <string_view>

#include "errors.hpp"

namespace onnx_sql {
namespace {

// Releases that silently give wrong labels for trees and forests of two classes; the same as in
// onnx_pipeline/models/runtime_versions.py, which tells what was measured.
constexpr std::array<std::string_view, 2> wrong_series{"1.26.", "1.27."};

void check_version(std::string_view version) {
    if (version.substr(0, 2) != "1.") {
        fail("ONNX Runtime ", version, " is of another series than this library knows; put version 1.",
             ort::api_version, " or newer of series 1 beside the extension");
    }
    for (const std::string_view series : wrong_series) {
        if (version.substr(0, series.size()) != series) continue;
        fail("ONNX Runtime ", version,
             " silently gives wrong labels for trees and forests; put another version beside the extension");
    }
}

const void* const* functions_of(const Library& library) {
    using GetApiBase = const ort::ApiBase* (*)();
    const auto get_api_base = reinterpret_cast<GetApiBase>(library.symbol("OrtGetApiBase"));
    const ort::ApiBase* base = get_api_base();
    if (base == nullptr || base->get_version_string == nullptr || base->get_api == nullptr) {
        fail("what is to be ONNX Runtime gives no functions; put another release beside the extension");
    }
    check_version(base->get_version_string());
    const void* const* table = base->get_api(ort::api_version);
    if (table == nullptr) {
        fail("ONNX Runtime ", base->get_version_string(), " is too old; put version 1.", ort::api_version,
             " or newer beside the extension");
    }
    return table;
}

}  // namespace

Runtime::Runtime(const std::filesystem::path& path)
    : library_(path),
      functions_(functions_of(library_)),
      env_(nullptr, Release(functions_)),
      memory_(nullptr, Release(functions_)) {
    // What ONNX Runtime logs would become SQL messages; what goes wrong comes as a status anyway.
    ort::Env* env = nullptr;
    check(functions_.create_env(ort::LogLevel::fatal, "onnx_sql", &env), "starting ONNX Runtime");
    env_.reset(env);
    check(functions_.disable_telemetry_events(env), "starting ONNX Runtime");
    ort::MemoryInfo* memory = nullptr;
    check(functions_.create_cpu_memory_info(ort::AllocatorType::device, ort::MemoryType::normal, &memory),
          "starting ONNX Runtime");
    memory_.reset(memory);
    check(functions_.default_allocator(&allocator_), "starting ONNX Runtime");
}

std::string Runtime::version() const {
    using GetApiBase = const ort::ApiBase* (*)();
    return reinterpret_cast<GetApiBase>(library_.symbol("OrtGetApiBase"))()->get_version_string();
}

void Runtime::check(ort::Status* status, std::string_view doing) const {
    if (status == nullptr) return;
    const std::string message = functions_.get_error_message(status);
    functions_.release_status(status);
    // ONNX Runtime's own words for memory that ran out, which whoever called says more about.
    for (const std::string_view sign : {"bad_alloc", "Failed to allocate memory"}) {
        if (message.find(sign) != std::string::npos) throw std::bad_alloc();
    }
    fail(doing, ": ", message);
}

}  // namespace onnx_sql
