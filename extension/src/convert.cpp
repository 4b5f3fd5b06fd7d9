#include "convert.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>
#include <type_traits>

#include "errors.hpp"
#include "generated/column_types.hpp"
#include "numeric.hpp"

namespace onnx_sql {
namespace {

// The host aligns its buffers, but nothing says that it must.
template <class T>
T load(const std::byte* data, std::size_t row) {
    T value{};
    std::memcpy(&value, data + row * sizeof(T), sizeof(T));
    return value;
}

// A bit arrives as 0 and 1 or as '0' and '1'.
struct Bit {
    std::uint8_t byte;
    [[nodiscard]] bool is_set() const { return byte != 0 && byte != '0'; }
};

template <class T>
constexpr bool is_float = std::is_floating_point_v<T> || std::is_same_v<T, Half>;

template <class T>
constexpr rules::Family family() {
    if (std::is_same_v<T, Bit> || std::is_same_v<T, Bool>) return rules::Family::boolean;
    if (std::is_same_v<T, sql::Numeric>) return rules::Family::decimal;
    return is_float<T> ? rules::Family::floating : rules::Family::integer;
}

template <class Source, class Element>
constexpr bool can_fill() {
    return rules::rule(family<Source>(), family<Element>()) != rules::Rule::none;
}

template <class Element>
constexpr double largest() {
    return std::is_same_v<Element, Half>    ? rules::largest_float16
           : std::is_same_v<Element, float> ? rules::largest_float32
                                            : std::numeric_limits<double>::max();
}

// The greatest finite value.
template <class Source>
constexpr double greatest() {
    return static_cast<double>(std::numeric_limits<Source>::max());
}

// Whether every value of the source fits the element, so that garbage may be converted too.
template <class Source, class Element>
constexpr bool always_fits() {
    if constexpr (std::is_same_v<Source, Bit>) {
        return true;
    } else if constexpr (!std::is_same_v<Source, sql::Numeric> && is_float<Element>) {
        return greatest<Source>() <= largest<Element>();
    } else if constexpr (std::is_integral_v<Source> && std::is_integral_v<Element>) {
        return std::numeric_limits<Source>::digits <= std::numeric_limits<Element>::digits &&
               (std::is_signed_v<Element> || std::is_unsigned_v<Source>);
    } else {
        return false;
    }
}

template <class Element, class Number>
Element to_element(Number number) {
    // A number is first the nearest double, whatever way it comes in.
    if constexpr (std::is_same_v<Element, Half>) {
        return to_half(static_cast<double>(number));
    } else if constexpr (is_float<Element>) {
        return static_cast<Element>(static_cast<double>(number));
    } else {
        return static_cast<Element>(number);
    }
}

template <class Element>
bool is_infinite(Element element) {
    if constexpr (std::is_same_v<Element, Half>) {
        return (element.bits & 0x7FFFU) == 0x7C00U;
    } else {
        return std::isinf(element);
    }
}

template <class Element>
bool is_not_finite(Element element) {
    if constexpr (std::is_same_v<Element, Half>) {
        return (element.bits & 0x7C00U) == 0x7C00U;
    } else {
        return !std::isfinite(element);
    }
}

template <class Element>
[[noreturn]] void refuse_range(double number, const Values& values, std::size_t row) {
    fail(to_text(*values.column), ", ", row_text(values, row), ": ", number,
         " is out of the range of the model's input, which ends at ", largest<Element>(),
         "; filter or clip such rows in the query");
}

template <class Element>
Element convert_always(Bit bit) {
    return to_element<Element>(static_cast<std::uint8_t>(bit.is_set()));
}

template <class Element, class Source>
Element convert_always(Source value) {
    return to_element<Element>(value);
}

template <class Element>
Element narrow(std::int64_t value, const Values& values, std::size_t row) {
    const bool fits =
        value >= static_cast<std::int64_t>(std::numeric_limits<Element>::min()) &&
        (sizeof(Element) == sizeof(value) || value <= static_cast<std::int64_t>(std::numeric_limits<Element>::max()));
    if (!fits) {
        fail(to_text(*values.column), ", ", row_text(values, row), ": ", value,
             " does not fit the model's input, which holds ", std::numeric_limits<Element>::min() + 0, " to ",
             std::numeric_limits<Element>::max() + 0, "; filter or clip such rows in the query");
    }
    return static_cast<Element>(value);
}

template <class Element>
Element whole(double value, const Values& values, std::size_t row) {
    // The first number beyond the greatest is a double; the greatest of 64 bits is none.
    const double end = std::ldexp(1.0, std::numeric_limits<Element>::digits);
    const bool fits = value >= static_cast<double>(std::numeric_limits<Element>::min()) && value < end;
    if (!fits || std::trunc(value) != value) {
        fail(to_text(*values.column), ", ", row_text(values, row), ": ", value,
             fits ? " has a fraction, and" : " does not fit:", " the model's input holds integers from ",
             std::numeric_limits<Element>::min() + 0, " to ", std::numeric_limits<Element>::max() + 0,
             "; filter or clip such rows in the query");
    }
    return static_cast<Element>(value);
}

template <class Element, class Source>
Element convert(Source value, const Values& values, std::size_t row) {
    if constexpr (std::is_same_v<Source, sql::Numeric> || is_float<Element>) {
        if constexpr (is_float<Element>) {
            double number = 0;
            if constexpr (std::is_same_v<Source, sql::Numeric>) {
                number = to_double(value);
            } else {
                number = static_cast<double>(value);
            }
            const auto element = to_element<Element>(number);
            if (is_infinite(element) && std::isfinite(number)) refuse_range<Element>(number, values, row);
            return element;
        } else {
            const auto integer = to_int64(value);
            if (!integer) {
                fail(to_text(*values.column), ", ", row_text(values, row), ": ", to_double(value),
                     " is no integer of 64 bits, and the model's input holds integers; filter such rows in the query");
            }
            return narrow<Element>(*integer, values, row);
        }
    } else if constexpr (std::is_floating_point_v<Source>) {
        return whole<Element>(static_cast<double>(value), values, row);
    } else {
        return narrow<Element>(static_cast<std::int64_t>(value), values, row);
    }
}

// The SQL type whose values are such elements already; text where there is none.
template <class Element>
constexpr sql::Type sql_type = sql::Type::character;
template <>
constexpr sql::Type sql_type<float> = sql::Type::real;
template <>
constexpr sql::Type sql_type<double> = sql::Type::float64;
template <>
constexpr sql::Type sql_type<std::int16_t> = sql::Type::int16;
template <>
constexpr sql::Type sql_type<std::int32_t> = sql::Type::int32;
template <>
constexpr sql::Type sql_type<std::int64_t> = sql::Type::int64;
template <>
constexpr sql::Type sql_type<std::uint8_t> = sql::Type::uint8;

bool any_null(const std::int32_t* indicators, std::size_t count) {
    // Without an early way out, so that the compiler takes several at a time.
    std::int32_t found = 0;
    for (std::size_t index = 0; index < count; ++index)
        found |= static_cast<std::int32_t>(indicators[index] == sql::null_data);
    return found != 0;
}

// What stands in for NULL, over whatever lay under it. By choosing and not by branching, so that the compiler takes
// several at a time.
template <class Element>
void stand_in(const std::int32_t* indicators, std::size_t count, Element element, Element* target) {
    for (std::size_t index = 0; index < count; ++index) {
        target[index] = indicators[index] == sql::null_data ? element : target[index];
    }
}

// Whether some element is such; without an early way out, as above.
template <class Element, class Is>
bool any(const Element* elements, std::size_t count, Is is) {
    int found = 0;
    for (std::size_t index = 0; index < count; ++index) found |= static_cast<int>(is(elements[index]));
    return found != 0;
}

// The rows [first, first + count) of a column on their way to a tensor.
template <class Source, class Element>
class Gathering {
  public:
    Gathering(const Values& values, std::size_t first, std::size_t count, Element* target,
              const NullRule<Element>& nulls)
        : values_(values),
          first_(first),
          count_(count),
          target_(target),
          nulls_(nulls),
          data_(values.data == nullptr ? nullptr : values.data + first * sizeof(Source)),
          indicators_(values.indicators == nullptr ? nullptr : values.indicators + first),
          has_nulls_(indicators_ != nullptr && any_null(indicators_, count)) {}

    void run() {
        if (data_ == nullptr) {
            for (std::size_t index = 0; index < count_; ++index) put_null(index);
        } else if constexpr (always_fits<Source, Element>()) {
            fitting();
        } else if constexpr (is_float<Source> && is_float<Element>) {
            narrowed();
        } else {
            one_by_one();
        }
    }

  private:
    [[nodiscard]] bool is_null(std::size_t index) const { return has_nulls_ && indicators_[index] == sql::null_data; }

    // Whether NaN is NULL, and something else than NaN is to stand in for it.
    [[nodiscard]] bool looks_for_nan() const { return is_float<Source> && !(nulls_.allowed && nulls_.is_nan); }

    void put_null(std::size_t index) {
        if (!nulls_.allowed) refuse_null(values_, first_ + index);
        target_[index] = nulls_.stand_in;
    }

    [[nodiscard]] Source source(std::size_t index) const { return load<Source>(data_, index); }

    void convert_all() {
        // Copies, which what is written cannot change: the compiler takes several at a time.
        const std::byte* data = data_;
        Element* target = target_;
        const std::size_t count = count_;
        for (std::size_t index = 0; index < count; ++index) {
            target[index] = convert_always<Element>(load<Source>(data, index));
        }
    }

    // Whatever a value is, the element holds it.
    void fitting() {
        convert_all();
        if (!looks_for_nan() && (!has_nulls_ || nulls_.allowed)) {
            if (has_nulls_) stand_in(indicators_, count_, nulls_.stand_in, target_);
            return;
        }
        for (std::size_t index = 0; index < count_; ++index) {
            if (is_null(index) || (looks_for_nan() && is_nan(target_[index]))) put_null(index);
        }
    }

    // A number may be beyond the element's greatest.
    void narrowed() {
        convert_all();
        if (has_nulls_ && !looks_for_nan()) stand_in(indicators_, count_, nulls_.stand_in, target_);
        // Only what is infinite, or NaN that something stands in for, has to be looked at one by one.
        const bool is_done = looks_for_nan() ? !has_nulls_ && !any(target_, count_, is_not_finite<Element>)
                                             : !any(target_, count_, is_infinite<Element>);
        if (is_done) return;
        for (std::size_t index = 0; index < count_; ++index) {
            if (is_null(index) || (looks_for_nan() && is_nan(target_[index]))) {
                put_null(index);
            } else if (is_infinite(target_[index])) {
                target_[index] = convert<Element>(source(index), values_, first_ + index);
            }
        }
    }

    void one_by_one() {
        for (std::size_t index = 0; index < count_; ++index) {
            if (is_null(index) || is_nan(source(index))) {
                put_null(index);
            } else {
                target_[index] = convert<Element>(source(index), values_, first_ + index);
            }
        }
    }

    const Values& values_;
    std::size_t first_;
    std::size_t count_;
    Element* target_;
    const NullRule<Element>& nulls_;
    const std::byte* data_;
    const std::int32_t* indicators_;
    bool has_nulls_;
};

template <class Source, class Element>
void gather(const Values& values, std::size_t first, std::size_t count, Element* target,
            const NullRule<Element>& nulls) {
    Gathering<Source, Element>(values, first, count, target, nulls).run();
}

template <class Source, class Element>
Gather<Element> gather_from() {
    if constexpr (can_fill<Source, Element>()) return &gather<Source, Element>;
    return nullptr;
}

}  // namespace

void refuse_null(const Values& values, std::size_t row) {
    const Column& column = *values.column;
    fail(to_text(column), ", ", row_text(values, row),
         ": the value is NULL or NaN, which the model's input cannot hold; write null.", column.name,
         " = <value> in @script, or ISNULL(...) in the query");
}

template <class Element>
Gather<Element> gather_for(const Column& column) {
    switch (column.type) {
        case sql::Type::bit:
            return gather_from<Bit, Element>();
        case sql::Type::uint8:
            return gather_from<std::uint8_t, Element>();
        case sql::Type::int16:
            return gather_from<std::int16_t, Element>();
        case sql::Type::int32:
            return gather_from<std::int32_t, Element>();
        case sql::Type::int64:
            return gather_from<std::int64_t, Element>();
        case sql::Type::real:
            return gather_from<float, Element>();
        case sql::Type::float64:
            return gather_from<double, Element>();
        case sql::Type::numeric:
            return gather_from<sql::Numeric, Element>();
        default:
            return nullptr;
    }
}

template <class Element>
bool is_nan(Element element) {
    if constexpr (std::is_same_v<Element, Half>) {
        return (element.bits & 0x7FFFU) > 0x7C00U;
    } else if constexpr (std::is_floating_point_v<Element>) {
        return std::isnan(element);
    } else {
        return false;
    }
}

template <class Element>
Run<Element> in_place(const Values& values, std::size_t first, std::size_t count, const NullRule<Element>& nulls) {
    if (is_float<Element> && !(nulls.allowed && nulls.is_nan)) return {};
    if (values.data == nullptr || values.column->type != sql_type<Element>) return {};
    if (reinterpret_cast<std::uintptr_t>(values.data) % alignof(Element) != 0) return {};
    const auto* elements = reinterpret_cast<const Element*>(values.data) + first;
    if (values.indicators == nullptr) return {elements, nullptr, nulls.stand_in};
    const std::int32_t* indicators = values.indicators + first;
    if (nulls.allowed) return {elements, indicators, nulls.stand_in};
    if (any_null(indicators, count)) return {};
    return {elements, nullptr, nulls.stand_in};
}

template <class Element>
std::optional<Element> parse_element(const std::string& text) {
    if constexpr (is_float<Element>) {
        if (text == "nan") return to_element<Element>(std::numeric_limits<double>::quiet_NaN());
        // Only digits, sign, point and exponent: what strtod reads besides depends on the locale.
        if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return std::nullopt;
        std::istringstream stream(text);
        stream.imbue(std::locale::classic());
        double value = 0;
        stream >> value;
        if (stream.fail() || stream.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
        const auto element = to_element<Element>(value);
        return is_infinite(element) ? std::nullopt : std::optional<Element>(element);
    } else if constexpr (std::is_same_v<Element, Bool>) {
        if (text == "true" || text == "1") return Bool::yes;
        if (text == "false" || text == "0") return Bool::no;
        return std::nullopt;
    } else {
        Element value{};
        const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
        return value;
    }
}

#define ONNX_SQL_ELEMENT(Element)                                                                               \
    template bool is_nan<Element>(Element);                                                                     \
    template Run<Element> in_place<Element>(const Values&, std::size_t, std::size_t, const NullRule<Element>&); \
    template Gather<Element> gather_for<Element>(const Column&);                                                \
    template std::optional<Element> parse_element<Element>(const std::string&);
ONNX_SQL_ELEMENT(float)
ONNX_SQL_ELEMENT(double)
ONNX_SQL_ELEMENT(Half)
ONNX_SQL_ELEMENT(Bool)
ONNX_SQL_ELEMENT(std::int8_t)
ONNX_SQL_ELEMENT(std::int16_t)
ONNX_SQL_ELEMENT(std::int32_t)
ONNX_SQL_ELEMENT(std::int64_t)
ONNX_SQL_ELEMENT(std::uint8_t)
ONNX_SQL_ELEMENT(std::uint16_t)
ONNX_SQL_ELEMENT(std::uint32_t)
#undef ONNX_SQL_ELEMENT

}  // namespace onnx_sql
