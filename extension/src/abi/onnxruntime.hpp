// ONNX Runtime's C ABI, in our own words: what of it the library calls, and where it stands in the table of functions.
// The table only ever grows at its end as long as the version begins with 1, so a slot is for good; self_test.cpp tries
// every one of them when ONNX Runtime is loaded. GetResizedStringTensorElementBuffer came last, with
// API version 15.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../errors.hpp"

namespace onnx_sql::ort {

constexpr std::uint32_t api_version = 15;

// Opaque on this side; ONNX Runtime owns what they are.
struct Env;
struct Status;
struct MemoryInfo;
struct SessionHandle;
struct Value;
struct TypeInfo;
struct TensorInfo;
struct ModelMetadata;
struct SessionOptions;
struct RunOptions;
struct Allocator;

// Windows' stdcall is the ordinary convention on x64, so no function needs a mark.
struct ApiBase {
    const void* const* (*get_api)(std::uint32_t version);
    const char* (*get_version_string)();
};

enum class ElementType : int {
    undefined = 0,
    float32 = 1,
    uint8 = 2,
    int8 = 3,
    uint16 = 4,
    int16 = 5,
    int32 = 6,
    int64 = 7,
    string = 8,
    boolean = 9,
    float16 = 10,
    float64 = 11,
    uint32 = 12,
    uint64 = 13,
    bfloat16 = 16,
};

enum class ValueKind : int { unknown = 0, tensor = 1, sequence = 2, map = 3 };

enum class LogLevel : int { verbose, info, warning, error, fatal };
enum class AllocatorType : int { device = 0, arena = 1 };
enum class MemoryType : int { normal = 0 };

template <std::size_t Slot, class Signature>
struct Function;

// One entry of the table: Function<9, Status*(...)> is callable as what stands in slot 9.
template <std::size_t Slot, class Result, class... Arguments>
struct Function<Slot, Result(Arguments...)> {
    using Pointer = Result (*)(Arguments...);

    explicit Function(const void* const* table) : pointer(reinterpret_cast<Pointer>(const_cast<void*>(table[Slot]))) {
        if (pointer == nullptr)
            fail("ONNX Runtime has no function in slot ", Slot,
                 " of its table; put another release beside the extension");
    }

    Result operator()(Arguments... arguments) const { return pointer(arguments...); }

    Pointer pointer;
};

struct Functions {
    explicit Functions(const void* const* slots) : table(slots) {}

    const void* const* table;

    Function<2, const char*(const Status*)> get_error_message{table};
    Function<3, Status*(LogLevel, const char*, Env**)> create_env{table};
    Function<6, Status*(const Env*)> disable_telemetry_events{table};
    Function<8, Status*(const Env*, const void*, std::size_t, const SessionOptions*, SessionHandle**)>
        create_session_from_array{table};
    Function<9, Status*(SessionHandle*, const RunOptions*, const char* const*, const Value* const*, std::size_t,
                        const char* const*, std::size_t, Value**)>
        run{table};
    Function<10, Status*(SessionOptions**)> create_session_options{table};
    Function<24, Status*(SessionOptions*, int)> set_intra_op_threads{table};
    Function<25, Status*(SessionOptions*, int)> set_inter_op_threads{table};
    Function<30, Status*(const SessionHandle*, std::size_t*)> input_count{table};
    Function<31, Status*(const SessionHandle*, std::size_t*)> output_count{table};
    Function<33, Status*(const SessionHandle*, std::size_t, TypeInfo**)> input_type{table};
    Function<34, Status*(const SessionHandle*, std::size_t, TypeInfo**)> output_type{table};
    Function<36, Status*(const SessionHandle*, std::size_t, Allocator*, char**)> input_name{table};
    Function<37, Status*(const SessionHandle*, std::size_t, Allocator*, char**)> output_name{table};
    Function<48, Status*(Allocator*, const std::int64_t*, std::size_t, ElementType, Value**)> create_tensor{table};
    Function<49, Status*(const MemoryInfo*, void*, std::size_t, const std::int64_t*, std::size_t, ElementType, Value**)>
        create_tensor_with_data{table};
    Function<51, Status*(Value*, void**)> tensor_data{table};
    Function<53, Status*(const Value*, std::size_t*)> string_tensor_length{table};
    Function<54, Status*(const Value*, void*, std::size_t, std::size_t*, std::size_t)> string_tensor_content{table};
    Function<55, Status*(const TypeInfo*, const TensorInfo**)> tensor_info_of_type{table};
    Function<56, Status*(const TypeInfo*, ValueKind*)> kind_of_type{table};
    Function<60, Status*(const TensorInfo*, ElementType*)> element_type{table};
    Function<61, Status*(const TensorInfo*, std::size_t*)> dimension_count{table};
    Function<62, Status*(const TensorInfo*, std::int64_t*, std::size_t)> dimensions{table};
    Function<65, Status*(const Value*, TensorInfo**)> tensor_info_of_value{table};
    Function<67, Status*(const Value*, ValueKind*)> kind_of_value{table};
    Function<69, Status*(AllocatorType, MemoryType, MemoryInfo**)> create_cpu_memory_info{table};
    Function<76, Status*(Allocator*, void*)> allocator_free{table};
    Function<78, Status*(Allocator**)> default_allocator{table};
    Function<92, void(Env*)> release_env{table};
    Function<93, void(Status*)> release_status{table};
    Function<94, void(MemoryInfo*)> release_memory_info{table};
    Function<95, void(SessionHandle*)> release_session{table};
    Function<96, void(Value*)> release_value{table};
    Function<98, void(TypeInfo*)> release_type_info{table};
    Function<99, void(TensorInfo*)> release_tensor_info{table};
    Function<100, void(SessionOptions*)> release_session_options{table};
    Function<111, Status*(const SessionHandle*, ModelMetadata**)> model_metadata{table};
    Function<116, Status*(const ModelMetadata*, Allocator*, const char*, char**)> metadata_property{table};
    Function<118, void(ModelMetadata*)> release_model_metadata{table};
    Function<252, Status*(Value*, std::size_t, std::size_t, char**)> string_element_buffer{table};
};

}  // namespace onnx_sql::ort
