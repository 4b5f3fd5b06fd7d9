#include "outputs.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "convert.hpp"
#include "errors.hpp"
#include "utf.hpp"

namespace onnx_sql {
namespace {

constexpr std::string_view reading = "reading an output";

template <class Shown, class Element>
Shown to_shown(Element element) {
    if constexpr (std::is_same_v<Element, Half>) {
        return to_float(element);
    } else {
        return static_cast<Shown>(element);
    }
}

template <class Float>
using BitsOf = std::conditional_t<sizeof(Float) == 4, std::uint32_t, std::uint64_t>;

// The bits of the exponent.
template <class Float>
constexpr BitsOf<Float> exponent_of =
    (std::numeric_limits<BitsOf<Float>>::max() >> 1U) >> (std::numeric_limits<Float>::digits - 1)
                                                             << (std::numeric_limits<Float>::digits - 1);

// Whether none is infinite or NaN: whether no exponent has all its bits set. On bits, the compiler takes several at
// once.
template <class Float>
bool all_finite(const Float* values, std::size_t count) {
    BitsOf<Float> found = 0;
    for (std::size_t index = 0; index < count; ++index) {
        BitsOf<Float> bits = 0;
        std::memcpy(&bits, values + index, sizeof bits);
        found |= static_cast<BitsOf<Float>>((bits & exponent_of<Float>) == exponent_of<Float> ? 1U : 0U);
    }
    return found == 0;
}

// An output of elements of a fixed width, shown as values of the C++ type `Shown` and SQL's type.
template <class Element, class Shown, sql::Type SqlType>
class FixedOutput : public OutputTensor {
  public:
    FixedOutput(const Runtime& runtime, const Tensor& tensor)
        : OutputTensor(tensor), runtime_(runtime), value_(nullptr, runtime) {}

    [[nodiscard]] ResultType result_type() const override {
        // SQL Server has no NaN, so a float may always be NULL.
        return {SqlType, sizeof(Shown), 0, std::is_floating_point_v<Shown>};
    }

    ort::Value* target(Results& results, std::size_t first, std::size_t padded) override {
        const std::size_t elements = padded * columns();
        Element* data = nullptr;
        if (is_written_in_place()) {
            data = reinterpret_cast<Element*>(results.fixed(routes()[0].result)) + first;
        } else {
            scratch_.resize(elements);
            data = scratch_.data();
        }
        const auto shape = shape_of(padded);
        ort::Value* fresh = nullptr;
        runtime_.check(runtime_.call().create_tensor_with_data(runtime_.memory(), data, elements * sizeof(Element),
                                                               shape.data(), shape.size(), tensor().element, &fresh),
                       "making an output");
        value_.reset(fresh);
        return fresh;
    }

    void take(ort::Value* value, Results& results, std::size_t first, std::size_t count) override {
        void* data = nullptr;
        runtime_.check(runtime_.call().tensor_data(value, &data), reading);
        const auto* elements = static_cast<const Element*>(data);
        const std::size_t stride = columns();
        for (const Route& route : routes()) {
            auto* target = reinterpret_cast<Shown*>(results.fixed(route.result)) + first;
            if (static_cast<const void*>(target) != data) {
                copy(elements + route.column, stride, count, target);
            }
            if constexpr (std::is_floating_point_v<Shown>) hide_not_finite(results, route.result, first, count);
        }
    }

    void take_columns(const std::vector<const void*>& columns, Results& results, std::size_t first,
                      std::size_t count) override {
        for (const Route& route : routes()) {
            auto* target = reinterpret_cast<Shown*>(results.fixed(route.result)) + first;
            copy(static_cast<const Element*>(columns[route.column]), 1, count, target);
            if constexpr (std::is_floating_point_v<Shown>) hide_not_finite(results, route.result, first, count);
        }
    }

  private:
    // A single column of the tensor's own type: ONNX Runtime writes it where SQL Server reads it.
    [[nodiscard]] bool is_written_in_place() const {
        return std::is_same_v<Element, Shown> && routes().size() == 1 && width() == 1U;
    }

    static void copy(const Element* elements, std::size_t stride, std::size_t count, Shown* target) {
        if (stride == 1 && std::is_same_v<Element, Shown>) {
            std::memcpy(target, elements, count * sizeof(Shown));
            return;
        }
        if (stride == 2) {
            // Two classes are what most classifiers have; with a stride that it knows, the compiler takes several at
            // once.
            for (std::size_t row = 0; row < count; ++row) target[row] = to_shown<Shown>(elements[row * 2]);
            return;
        }
        for (std::size_t row = 0; row < count; ++row) target[row] = to_shown<Shown>(elements[row * stride]);
    }

    static void hide_not_finite(Results& results, std::size_t column, std::size_t first, std::size_t count) {
        auto* values = reinterpret_cast<Shown*>(results.fixed(column)) + first;
        if (all_finite(values, count)) return;
        std::int32_t* indicators = results.indicators(column) + first;
        // By masks and not by branching, as above: NULL's indicator is all bits, and zero none.
        using Bits = BitsOf<Shown>;
        for (std::size_t row = 0; row < count; ++row) {
            Bits bits = 0;
            std::memcpy(&bits, values + row, sizeof bits);
            const bool hidden = (bits & exponent_of<Shown>) == exponent_of<Shown>;
            static_assert(sql::null_data == -1);
            indicators[row] |= -static_cast<std::int32_t>(hidden);
            bits &= static_cast<Bits>(hidden) - 1U;
            std::memcpy(values + row, &bits, sizeof bits);
        }
    }

    const Runtime& runtime_;
    Handle<ort::Value> value_;
    Buffer<Element> scratch_;
};

class StringOutput : public OutputTensor {
  public:
    StringOutput(const Runtime& runtime, const Tensor& tensor, std::size_t text_length)
        : OutputTensor(tensor), runtime_(runtime), text_length_(text_length) {}

    [[nodiscard]] ResultType result_type() const override {
        return {sql::Type::wide_character, 2 * text_length_, 0, false};
    }

    // ONNX Runtime keeps strings as it likes.
    ort::Value* target(Results& /*results*/, std::size_t /*first*/, std::size_t /*padded*/) override { return nullptr; }

    void take(ort::Value* value, Results& results, std::size_t first, std::size_t count) override {
        read(value);
        const std::size_t stride = columns();
        for (const Route& route : routes()) {
            Buffer<std::byte>& bytes = results.bytes(route.result);
            std::int32_t* indicators = results.indicators(route.result) + first;
            for (std::size_t row = 0; row < count; ++row) {
                indicators[row] = append(text_at(row * stride + route.column), bytes);
            }
        }
    }

    void take_columns(const std::vector<const void*>& /*columns*/, Results& /*results*/, std::size_t /*first*/,
                      std::size_t /*count*/) override {
        fail("the model's output ", quote(tensor().name), " is text, which is not computed here");
    }

  private:
    // All strings, one after the other, and where each begins.
    void read(const ort::Value* value) {
        std::size_t length = 0;
        runtime_.check(runtime_.call().string_tensor_length(value, &length), reading);
        const Tensor actual = describe(runtime_, value);
        std::size_t count = 1;
        for (const std::int64_t size : actual.shape) count *= static_cast<std::size_t>(size);
        text_.resize(length);
        offsets_.resize(count + 1);
        runtime_.check(runtime_.call().string_tensor_content(value, text_.data(), length, offsets_.data(), count),
                       reading);
        offsets_[count] = length;
    }

    [[nodiscard]] std::string_view text_at(std::size_t index) const {
        return {text_.data() + offsets_[index], offsets_[index + 1] - offsets_[index]};
    }

    // Appends the text as UTF-16; returns its length in bytes.
    [[nodiscard]] std::int32_t append(std::string_view text, Buffer<std::byte>& bytes) const {
        if (!utf::is_utf8(text)) fail("the model's output ", quote(tensor().name), " holds text that is no UTF-8");
        const std::size_t before = bytes.size();
        bytes.resize(before + 2 * text.size());
        const std::size_t length = utf::to_utf16(text, bytes.data() + before);
        bytes.resize(before + length);
        if (length > 2 * text_length_) {
            fail("the model's output ", quote(tensor().name), " holds a text of ", length / 2,
                 " UTF-16 units; write text_length = ", length / 2, " or more in @script");
        }
        return static_cast<std::int32_t>(length);
    }

    const Runtime& runtime_;
    std::size_t text_length_;
    Buffer<char> text_;
    Buffer<std::size_t> offsets_;
};

[[noreturn]] void refuse_shape(const Tensor& tensor, const Tensor& shown, std::string_view expected) {
    fail("the model's output ", quote(tensor.name), " is ", to_text(shown), "; expected ", expected);
}

}  // namespace

OutputTensor::OutputTensor(const Tensor& tensor) : tensor_(tensor) {
    const auto& shape = tensor.shape;
    if (shape.size() > 2) refuse_shape(tensor, tensor, "[N], [N, 1] or [N, K], which columns can hold");
    if (shape.size() == 1) width_ = 1;
    if (shape.size() == 2 && shape[1] >= 0) width_ = static_cast<std::size_t>(shape[1]);
}

void OutputTensor::learn(const Tensor& actual, std::size_t rows) {
    const Tensor shown{tensor_.name, tensor_.element, actual.shape};
    const auto& shape = actual.shape;
    if (shape.empty() || shape.size() > 2 || shape[0] != static_cast<std::int64_t>(rows)) {
        refuse_shape(tensor_, shown, "one row for each of the " + std::to_string(rows) + " rows that went in");
    }
    const std::size_t width = shape.size() == 1 ? 1U : static_cast<std::size_t>(shape[1]);
    if (!routes_.empty() && width_ != width)
        refuse_shape(tensor_, shown, std::to_string(columns()) + " columns, as before");
    width_ = width;
    rank_ = shape.size();
}

std::vector<std::int64_t> OutputTensor::shape_of(std::size_t rows) const {
    std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows)};
    if (rank_ == 2) shape.push_back(static_cast<std::int64_t>(columns()));
    return shape;
}

std::unique_ptr<OutputTensor> make_output(const Runtime& runtime, const Tensor& tensor, std::size_t text_length) {
    using sql::Type;
    switch (tensor.element) {
        case ort::ElementType::float32:
            return std::make_unique<FixedOutput<float, float, Type::real>>(runtime, tensor);
        case ort::ElementType::float16:
            return std::make_unique<FixedOutput<Half, float, Type::real>>(runtime, tensor);
        case ort::ElementType::float64:
            return std::make_unique<FixedOutput<double, double, Type::float64>>(runtime, tensor);
        case ort::ElementType::int64:
            return std::make_unique<FixedOutput<std::int64_t, std::int64_t, Type::int64>>(runtime, tensor);
        case ort::ElementType::int32:
            return std::make_unique<FixedOutput<std::int32_t, std::int32_t, Type::int32>>(runtime, tensor);
        case ort::ElementType::int16:
            return std::make_unique<FixedOutput<std::int16_t, std::int16_t, Type::int16>>(runtime, tensor);
        case ort::ElementType::int8:
            return std::make_unique<FixedOutput<std::int8_t, std::int16_t, Type::int16>>(runtime, tensor);
        case ort::ElementType::uint8:
            return std::make_unique<FixedOutput<std::uint8_t, std::uint8_t, Type::uint8>>(runtime, tensor);
        case ort::ElementType::uint16:
            return std::make_unique<FixedOutput<std::uint16_t, std::int32_t, Type::int32>>(runtime, tensor);
        case ort::ElementType::uint32:
            return std::make_unique<FixedOutput<std::uint32_t, std::int64_t, Type::int64>>(runtime, tensor);
        case ort::ElementType::boolean:
            return std::make_unique<FixedOutput<std::uint8_t, std::uint8_t, Type::bit>>(runtime, tensor);
        case ort::ElementType::string:
            return std::make_unique<StringOutput>(runtime, tensor, text_length);
        default:
            break;
    }
    fail(
        "the model's output ", quote(tensor.name), " is ", to_text(tensor),
        ", which no column holds; export the model with a Cast, or choose other outputs with outputs = ... in @script");
}

}  // namespace onnx_sql
