#include "tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "buffer.hpp"
#include "convert.hpp"
#include "errors.hpp"
#include "transpose.hpp"
#include "utf.hpp"

namespace onnx_sql {
namespace {

// Rows of a column that are converted before they are transposed: four columns of them stay in the first cache.
constexpr std::size_t tile = 256;

template <class Element>
constexpr ort::ElementType element_type = ort::ElementType::undefined;
template <>
constexpr ort::ElementType element_type<float> = ort::ElementType::float32;
template <>
constexpr ort::ElementType element_type<double> = ort::ElementType::float64;
template <>
constexpr ort::ElementType element_type<Half> = ort::ElementType::float16;
template <>
constexpr ort::ElementType element_type<Bool> = ort::ElementType::boolean;
template <>
constexpr ort::ElementType element_type<std::int8_t> = ort::ElementType::int8;
template <>
constexpr ort::ElementType element_type<std::int16_t> = ort::ElementType::int16;
template <>
constexpr ort::ElementType element_type<std::int32_t> = ort::ElementType::int32;
template <>
constexpr ort::ElementType element_type<std::int64_t> = ort::ElementType::int64;
template <>
constexpr ort::ElementType element_type<std::uint8_t> = ort::ElementType::uint8;
template <>
constexpr ort::ElementType element_type<std::uint16_t> = ort::ElementType::uint16;
template <>
constexpr ort::ElementType element_type<std::uint32_t> = ort::ElementType::uint32;

[[noreturn]] void refuse_type(const Column& column, const Tensor& tensor) {
    const bool text = tensor.element == ort::ElementType::string;
    fail(to_text(column), " is ", to_text(column.type),
         column.type == sql::Type::numeric ? " with " + std::to_string(column.digits) + " digits after the point" : "",
         ", but the model's input ", quote(tensor.name), " is ", to_text(tensor),
         text ? "; cast the column to nvarchar in the query" : "; cast the column to a matching type in the query");
}

// The text that options name for NULL in the column.
std::optional<std::string> stand_in_text(const Column& column, const Options& options) {
    const auto found = options.stand_ins.find(column.name);
    if (found == options.stand_ins.end()) return std::nullopt;
    return found->second;
}

// The values that an OrtValue describes change with each batch; the value itself changes only with the number of rows.
class Reused {
  public:
    explicit Reused(const Runtime& runtime) : value_(nullptr, runtime) {}

    template <class Make>
    ort::Value* value(std::size_t rows, Make make) {
        if (value_ == nullptr || rows_ != rows) {
            ort::Value* fresh = nullptr;
            value_.get_deleter().check(make(&fresh), "making an input");
            value_.reset(fresh);
            rows_ = rows;
        }
        return value_.get();
    }

  private:
    Handle<ort::Value> value_;
    std::size_t rows_ = 0;
};

// [N] or [N, F], with as many dimensions as the model asks for.
std::vector<std::int64_t> shape_for(const Tensor& tensor, std::size_t rows, std::size_t width) {
    std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows)};
    if (tensor.shape.size() > 1) shape.push_back(static_cast<std::int64_t>(width));
    return shape;
}

template <class Element>
class FixedInput : public InputTensor {
  public:
    FixedInput(const Runtime& runtime, const Tensor& tensor, const std::vector<const Column*>& columns,
               const Options& options, std::size_t batch)
        : runtime_(runtime), tensor_(tensor), elements_(batch * columns.size()), value_(runtime) {
        for (const Column* column : columns) features_.push_back(bind(*column, options));
    }

    void open(const std::vector<Values>& chunk) override {
        for (Feature& feature : features_) feature.values = &chunk[feature.column->number];
    }

    const ort::Value* fill(std::size_t first, std::size_t count, std::size_t padded) override {
        const std::size_t width = features_.size();
        if (width == 1) {
            gather(features_.front(), first, count, elements_.data());
        } else {
            for (std::size_t place = 0; place < width; place += columns_together) fill_columns(place, first, count);
        }
        for (std::size_t row = count; row < padded; ++row) {
            std::copy_n(elements_.data() + (count - 1) * width, width, elements_.data() + row * width);
        }
        return value(padded);
    }

    Run<float> column(std::size_t place, std::size_t first, std::size_t count, float* scratch) override {
        if constexpr (std::is_same_v<Element, float>) {
            const Feature& feature = features_[place];
            const Run<float> there = in_place<float>(*feature.values, first, count, feature.nulls);
            if (there.elements != nullptr) return there;
            gather(feature, first, count, scratch);
            return {scratch, nullptr, {}};
        } else {
            return InputTensor::column(place, first, count, scratch);
        }
    }

    const ort::Value* blank(std::size_t rows) override {
        std::fill_n(elements_.begin(), rows * features_.size(), Element{});
        return value(rows);
    }

  private:
    struct Feature {
        const Column* column;
        Gather<Element> gather;
        NullRule<Element> nulls;
        const Values* values;
    };

    const ort::Value* value(std::size_t rows) {
        const std::size_t width = features_.size();
        const auto shape = shape_for(tensor_, rows, width);
        return value_.value(rows, [&](ort::Value** out) {
            return runtime_.call().create_tensor_with_data(runtime_.memory(), elements_.data(),
                                                           rows * width * sizeof(Element), shape.data(), shape.size(),
                                                           element_type<Element>, out);
        });
    }

    static void gather(const Feature& feature, std::size_t first, std::size_t count, Element* target) {
        feature.gather(*feature.values, first, count, target, feature.nulls);
    }

    using Sources = std::array<Run<Element>, columns_together>;

    // Fills up to four columns of the tensor. What needs no conversion is read where the host put it, in one long run
    // per column, which memory likes best: in a million rows of 28 floats, tiles of 64 rows cost a third more.
    void fill_columns(std::size_t place, std::size_t first, std::size_t count) {
        const std::size_t columns = std::min(columns_together, features_.size() - place);
        Sources sources{};
        bool all_in_place = true;
        for (std::size_t column = 0; column < columns && all_in_place; ++column) {
            sources[column] =
                in_place<Element>(*features_[place + column].values, first, count, features_[place + column].nulls);
            all_in_place = sources[column].elements != nullptr;
        }
        if (all_in_place) {
            put_columns(sources, columns, place, 0, count);
            return;
        }
        std::array<std::array<Element, tile>, columns_together> converted{};
        for (std::size_t start = 0; start < count; start += tile) {
            const std::size_t rows = std::min(tile, count - start);
            for (std::size_t column = 0; column < columns; ++column) {
                gather(features_[place + column], first + start, rows, converted[column].data());
                sources[column] = {converted[column].data(), nullptr, {}};
            }
            put_columns(sources, columns, place, start, rows);
        }
    }

    // Puts columns [place, place + columns) of the tensor's rows [start, start + rows).
    void put_columns(const Sources& sources, std::size_t columns, std::size_t place, std::size_t start,
                     std::size_t rows) {
        const std::size_t width = features_.size();
        Element* target = elements_.data() + start * width + place;
        if (columns == columns_together) {
            transpose(sources, rows, target, width);
            return;
        }
        for (std::size_t column = 0; column < columns; ++column) {
            for (std::size_t row = 0; row < rows; ++row)
                target[row * width + column] = element_at(sources[column], row);
        }
    }

    [[nodiscard]] Feature bind(const Column& column, const Options& options) const {
        Feature feature{&column, gather_for<Element>(column), null_rule(column, options), nullptr};
        if (feature.gather == nullptr) refuse_type(column, tensor_);
        return feature;
    }

    [[nodiscard]] NullRule<Element> null_rule(const Column& column, const Options& options) const {
        const auto text = stand_in_text(column, options);
        if (!text) {
            const auto nan = parse_element<Element>("nan");
            return {nan.has_value() && !options.strict_nulls, nan.value_or(Element{}), nan.has_value()};
        }
        const auto element = parse_element<Element>(*text);
        if (!element) {
            fail("null.", column.name, " is ", quote(*text), ", which is no value of the model's input ",
                 quote(tensor_.name), ": ", to_text(tensor_));
        }
        return {true, *element, is_nan(*element)};
    }

    const Runtime& runtime_;
    const Tensor& tensor_;
    std::vector<Feature> features_;
    Buffer<Element> elements_;
    Reused value_;
};

class StringInput : public InputTensor {
  public:
    StringInput(const Runtime& runtime, const Tensor& tensor, const std::vector<const Column*>& columns,
                const Options& options)
        : runtime_(runtime), tensor_(tensor), value_(runtime) {
        for (const Column* column : columns) {
            if (column->type != sql::Type::character && column->type != sql::Type::wide_character) {
                refuse_type(*column, tensor);
            }
            features_.push_back({column, stand_in_text(*column, options), nullptr, 0});
        }
    }

    void open(const std::vector<Values>& chunk) override {
        for (Feature& feature : features_) {
            feature.values = &chunk[feature.column->number];
            feature.offset = 0;
        }
    }

    const ort::Value* fill(std::size_t first, std::size_t count, std::size_t padded) override {
        ort::Value* value = this->value(padded);
        for (std::size_t place = 0; place < features_.size(); ++place) {
            Feature& feature = features_[place];
            for (std::size_t row = 0; row < count; ++row) {
                const std::size_t before = feature.offset;
                put(feature, first + row, value, row * features_.size() + place);
                if (row + 1 < count) continue;
                for (std::size_t copy = count; copy < padded; ++copy) {
                    feature.offset = before;
                    put(feature, first + row, value, copy * features_.size() + place);
                }
            }
        }
        return value;
    }

    const ort::Value* blank(std::size_t rows) override {
        ort::Value* value = this->value(rows);
        for (std::size_t index = 0; index < rows * features_.size(); ++index) put_utf8(value, index, {});
        return value;
    }

  private:
    ort::Value* value(std::size_t rows) {
        const auto shape = shape_for(tensor_, rows, features_.size());
        return value_.value(rows, [&](ort::Value** out) {
            return runtime_.call().create_tensor(runtime_.allocator(), shape.data(), shape.size(),
                                                 ort::ElementType::string, out);
        });
    }

    struct Feature {
        const Column* column;
        std::optional<std::string> stand_in;
        const Values* values;
        std::size_t offset;
    };

    // Where ONNX Runtime keeps the text of an element, once it is that long.
    char* room(ort::Value* value, std::size_t index, std::size_t length) const {
        char* place = nullptr;
        runtime_.check(runtime_.call().string_element_buffer(value, index, length, &place), "filling a text input");
        return place;
    }

    void put_utf8(ort::Value* value, std::size_t index, std::string_view text) const {
        char* place = room(value, index, text.size());
        if (!text.empty()) std::memcpy(place, text.data(), text.size());
    }

    void put(Feature& feature, std::size_t row, ort::Value* value, std::size_t index) const {
        const Values& values = *feature.values;
        if (values.all_null || values.indicators[row] == sql::null_data) {
            if (!feature.stand_in) refuse_null(values, row);
            put_utf8(value, index, *feature.stand_in);
            return;
        }
        const auto bytes = static_cast<std::size_t>(values.indicators[row]);
        const std::byte* data = values.data + feature.offset;
        feature.offset += bytes;
        if (feature.column->type == sql::Type::character) {
            const std::string_view text(reinterpret_cast<const char*>(data), bytes);
            if (!utf::is_utf8(text))
                fail(to_text(*feature.column), ", ", row_text(values, row), ": the text is no UTF-8");
            put_utf8(value, index, text);
            return;
        }
        const auto length = utf::utf8_length(data, bytes);
        if (!length) fail(to_text(*feature.column), ", ", row_text(values, row), ": the text is no UTF-16");
        utf::to_utf8(data, bytes, room(value, index, *length));
    }

    const Runtime& runtime_;
    const Tensor& tensor_;
    std::vector<Feature> features_;
    Reused value_;
};

}  // namespace

Run<float> InputTensor::column(std::size_t /*place*/, std::size_t /*first*/, std::size_t /*count*/,
                               float* /*scratch*/) {
    fail("an input that is not of 32-bit floats has no such columns");
}

std::size_t element_size(ort::ElementType element) {
    switch (element) {
        case ort::ElementType::uint8:
        case ort::ElementType::int8:
        case ort::ElementType::boolean:
            return 1;
        case ort::ElementType::uint16:
        case ort::ElementType::int16:
        case ort::ElementType::float16:
            return 2;
        case ort::ElementType::float32:
        case ort::ElementType::int32:
        case ort::ElementType::uint32:
            return 4;
        case ort::ElementType::string:
            return 32;
        default:
            return 8;
    }
}

std::unique_ptr<InputTensor> make_input(const Runtime& runtime, const Tensor& tensor,
                                        std::vector<const Column*> columns, const Options& options, std::size_t batch) {
    const auto fixed = [&](auto zero) -> std::unique_ptr<InputTensor> {
        return std::make_unique<FixedInput<decltype(zero)>>(runtime, tensor, columns, options, batch);
    };
    switch (tensor.element) {
        case ort::ElementType::float32:
            return fixed(float{});
        case ort::ElementType::float64:
            return fixed(double{});
        case ort::ElementType::float16:
            return fixed(Half{});
        case ort::ElementType::boolean:
            return fixed(Bool{});
        case ort::ElementType::int8:
            return fixed(std::int8_t{});
        case ort::ElementType::int16:
            return fixed(std::int16_t{});
        case ort::ElementType::int32:
            return fixed(std::int32_t{});
        case ort::ElementType::int64:
            return fixed(std::int64_t{});
        case ort::ElementType::uint8:
            return fixed(std::uint8_t{});
        case ort::ElementType::uint16:
            return fixed(std::uint16_t{});
        case ort::ElementType::uint32:
            return fixed(std::uint32_t{});
        case ort::ElementType::string:
            return std::make_unique<StringInput>(runtime, tensor, columns, options);
        default:
            break;
    }
    fail("the model's input ", quote(tensor.name), " is ", to_text(tensor),
         ", which no column fills; export the model with a Cast");
}

}  // namespace onnx_sql
