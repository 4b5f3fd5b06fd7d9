// ONNX Runtime as an object: its functions, and handles that release themselves.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "abi/onnxruntime.hpp"
#include "library.hpp"

namespace onnx_sql {

// Deletes what the runtime itself holds: within its own class it is no complete type yet, and so no deleter.
class Release {
  public:
    explicit Release(const ort::Functions& functions) : functions_(functions) {}
    void operator()(ort::Env* handle) const { functions_.release_env(handle); }
    void operator()(ort::MemoryInfo* handle) const { functions_.release_memory_info(handle); }

  private:
    const ort::Functions& functions_;
};

class Runtime {
  public:
    // Loads the library and starts ONNX Runtime. Raises Error where it cannot be loaded or is too old.
    explicit Runtime(const std::filesystem::path& path);

    [[nodiscard]] const ort::Functions& call() const { return functions_; }
    [[nodiscard]] std::string version() const;
    [[nodiscard]] const ort::Env* env() const { return env_.get(); }
    [[nodiscard]] const ort::MemoryInfo* memory() const { return memory_.get(); }
    [[nodiscard]] ort::Allocator* allocator() const { return allocator_; }

    // Raises Error, opening with `doing`, where a call did not succeed.
    void check(ort::Status* status, std::string_view doing) const;

    // Deleters; each handle knows the runtime that made it.
    void operator()(ort::ModelMetadata* handle) const { functions_.release_model_metadata(handle); }
    void operator()(ort::SessionHandle* handle) const { functions_.release_session(handle); }
    void operator()(ort::SessionOptions* handle) const { functions_.release_session_options(handle); }
    void operator()(ort::TensorInfo* handle) const { functions_.release_tensor_info(handle); }
    void operator()(ort::TypeInfo* handle) const { functions_.release_type_info(handle); }
    void operator()(ort::Value* handle) const { functions_.release_value(handle); }

  private:
    Library library_;
    ort::Functions functions_;
    std::unique_ptr<ort::Env, Release> env_;
    std::unique_ptr<ort::MemoryInfo, Release> memory_;
    ort::Allocator* allocator_ = nullptr;
};

template <class T>
using Handle = std::unique_ptr<T, const Runtime&>;

// Takes over what a function of ONNX Runtime hands out through its last argument.
template <class T, class Call>
Handle<T> made(const Runtime& runtime, std::string_view doing, Call call) {
    T* handle = nullptr;
    runtime.check(call(&handle), doing);
    return Handle<T>(handle, runtime);
}

}  // namespace onnx_sql
