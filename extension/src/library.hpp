// Shared libraries, by the two operating systems that SQL Server runs on.
#pragma once

#include <filesystem>
#include <string>

namespace onnx_sql {

// The folder that this library was loaded from.
std::filesystem::path own_folder();

// Loads a shared library for the rest of the process's life. Raises Error with the loader's own words.
class Library {
  public:
    explicit Library(const std::filesystem::path& path);

    // Raises Error where the library does not export the name.
    [[nodiscard]] void* symbol(const char* name) const;

  private:
    std::filesystem::path path_;
    void* handle_;
};

// The ONNX Runtime library at a path: the file itself, or the newest in a folder. Empty where there is none.
std::filesystem::path find_onnxruntime(const std::filesystem::path& file_or_folder);

}  // namespace onnx_sql
