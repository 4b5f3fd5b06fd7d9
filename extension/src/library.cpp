#include "library.hpp"

#include <system_error>

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

// Any address inside this library says which library it is.
const char anchor = 0;

#if defined(_WIN32)

bool is_onnxruntime(const fs::path& file) { return file.filename() == L"onnxruntime.dll"; }

std::string last_error() { return "Windows error " + std::to_string(GetLastError()); }

void* open_library(const fs::path& path) {
    // DLLs that the library needs are looked for beside it, not in the current folder.
    return LoadLibraryExW(path.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
}

void* find_symbol(void* handle, const char* name) {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), name));
}

#else

bool is_onnxruntime(const fs::path& file) { return file.filename().string().rfind("libonnxruntime.so", 0) == 0; }

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
    for (fs::directory_iterator entry(file_or_folder, problem), end; !problem && entry != end;
         entry.increment(problem)) {
        if (is_onnxruntime(entry->path()) && entry->path() > newest) newest = entry->path();
    }
    return newest;
}

}  // namespace onnx_sql
