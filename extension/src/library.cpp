#include "library.hpp"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "errors.hpp"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace onnx_sql {
namespace {

namespace fs = std::filesystem;

// A version's numbers, which compare as numbers: 1.9 comes before 1.32.
using Version = std::vector<std::uint64_t>;

// Any address inside this library says which library it is.
const char anchor = 0;

#if defined(_WIN32)

std::optional<Version> version_of(const fs::path& file) {
    return file.filename() == L"onnxruntime.dll" ? std::optional(Version{}) : std::nullopt;
}

std::string last_error() { return "Windows error " + std::to_string(GetLastError()); }

void* open_library(const fs::path& path) {
    // DLLs that the library needs are looked for beside it, not in the current folder.
    return LoadLibraryExW(path.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
}

void* find_symbol(void* handle, const char* name) {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), name));
}

#else

// What stands behind `libonnxruntime.so`: 1, 9, 0 of .so.1.9.0, nothing of the bare name. No version where it is
// another file.
std::optional<Version> version_of(const fs::path& file) {
    constexpr std::string_view stem = "libonnxruntime.so";
    const std::string name = file.filename().string();
    if (name.rfind(stem, 0) != 0) return std::nullopt;
    Version version;
    const char* end = name.data() + name.size();
    for (const char* place = name.data() + stem.size(); place != end;) {
        if (*place++ != '.') return std::nullopt;
        std::uint64_t part = 0;
        const auto [after, problem] = std::from_chars(place, end, part);
        if (problem != std::errc{}) return std::nullopt;
        version.push_back(part);
        place = after;
    }
    return version;
}

std::string last_error() {
    const char* text = dlerror();  // NOLINT(concurrency-mt-unsafe): one message for each thread on Linux
    return text == nullptr ? "no reason given" : text;
}

void* open_library(const fs::path& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }

void* find_symbol(void* handle, const char* name) { return dlsym(handle, name); }

#endif

}  // namespace

fs::path own_folder() {
#if defined(_WIN32)
    HMODULE module = nullptr;
    if (GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                           reinterpret_cast<LPCWSTR>(&anchor), &module) == 0) {
        return {};
    }
    std::wstring file(32768, L'\0');
    file.resize(GetModuleFileNameW(module, file.data(), static_cast<DWORD>(file.size())));
    return fs::path(file).parent_path();
#else
    Dl_info info{};
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == nullptr) return {};
    std::error_code problem;
    const fs::path file = fs::absolute(info.dli_fname, problem);
    return problem ? fs::path() : file.parent_path();
#endif
}

Library::Library(const fs::path& path) : path_(path), handle_(open_library(path)) {
    if (handle_ == nullptr) fail("ONNX Runtime at ", quote(path.u8string()), " cannot be loaded: ", last_error());
}

void* Library::symbol(const char* name) const {
    void* found = find_symbol(handle_, name);
    if (found == nullptr) fail(quote(path_.u8string()), " does not export ", name, ", so it is no ONNX Runtime");
    return found;
}

fs::path find_onnxruntime(const fs::path& file_or_folder) {
    std::error_code problem;
    if (file_or_folder.empty()) return {};
    if (fs::is_regular_file(file_or_folder, problem)) return file_or_folder;
    fs::path newest;
    Version newest_version;
    for (fs::directory_iterator entry(file_or_folder, problem), end; !problem && entry != end;
         entry.increment(problem)) {
        const auto version = version_of(entry->path());
        if (!version || (!newest.empty() && *version <= newest_version)) continue;
        newest = entry->path();
        newest_version = *version;
    }
    return newest;
}

}  // namespace onnx_sql
