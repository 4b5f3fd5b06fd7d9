#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>
#include <system_error>

#include "errors.hpp"

namespace onnx_sql {
namespace {

constexpr std::string_view spaces = " \t\r";
constexpr std::string_view known = "keys, features, outputs, nulls, null.<column>, threads, batch and text_length";
constexpr std::size_t most_threads = 1024;
// A text value's length in bytes must fit the indicator, which has 31 bits.
constexpr std::size_t longest_text = (std::size_t{1} << 30U) - 1;

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(spaces);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

// Reads one option's value from left to right; complains about the line it stands in.
class Reader {
  public:
    Reader(std::string_view text, std::size_t line) : rest_(text), line_(line) {}

    template <class... Parts>
    [[noreturn]] void complain(const Parts&... parts) const {
        fail("@script, line ", line_, ": ", parts...);
    }

    bool done() {
        skip_spaces();
        return rest_.empty();
    }

    bool take(char letter) {
        skip_spaces();
        if (rest_.empty() || rest_.front() != letter) return false;
        rest_.remove_prefix(1);
        return true;
    }

    // A name in double quotes, or everything up to one of `ends`.
    std::string name(std::string_view ends) {
        skip_spaces();
        if (!rest_.empty() && rest_.front() == '"') return in_quotes();
        const std::string_view found = trimmed(rest_.substr(0, rest_.find_first_of(ends)));
        if (found.empty()) complain("a name is missing before '", rest_, "'");
        rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_of(ends)));
        return std::string(found);
    }

    std::string_view rest() {
        skip_spaces();
        return rest_;
    }

    std::size_t number(std::string_view option, std::size_t least, std::size_t most) {
        const std::string_view text = trimmed(rest());
        std::size_t value = 0;
        const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (problem != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
            complain(option, " is ", quote(text), "; write a whole number from ", least, " to ", most);
        }
        return value;
    }

  private:
    void skip_spaces() { rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_not_of(spaces))); }

    std::string in_quotes() {
        std::string text;
        for (std::size_t index = 1; index < rest_.size(); ++index) {
            if (rest_[index] != '"') {
                text += rest_[index];
            } else if (index + 1 < rest_.size() && rest_[index + 1] == '"') {
                text += '"';
                ++index;
            } else {
                rest_.remove_prefix(index + 1);
                return text;
            }
        }
        complain("the double quote before ", quote(rest_.substr(1)), " is not closed");
    }

    std::string_view rest_;
    std::size_t line_;
};

std::vector<std::string> names(Reader& reader) {
    std::vector<std::string> list;
    do {
        list.push_back(reader.name(","));
        if (std::count(list.begin(), list.end(), list.back()) > 1) reader.complain(quote(list.back()), " stands twice");
    } while (reader.take(','));
    if (!reader.done()) reader.complain("a comma is missing before ", quote(reader.rest()));
    return list;
}

std::vector<OutputChoice> choices(Reader& reader) {
    std::vector<OutputChoice> list;
    do {
        OutputChoice choice{reader.name(",["), std::nullopt};
        if (reader.take('[')) {
            const std::string text = reader.name("]");
            std::size_t column = 0;
            const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), column);
            if (problem != std::errc{} || end != text.data() + text.size() || !reader.take(']')) {
                reader.complain("outputs names ", quote(choice.name), " with the column ", quote(text),
                                "; write a whole number, as in probabilities[1]");
            }
            choice.column = column;
        }
        list.push_back(std::move(choice));
    } while (reader.take(','));
    if (!reader.done()) reader.complain("a comma is missing before ", quote(reader.rest()));
    return list;
}

bool strict_nulls(Reader& reader) {
    const std::string_view value = trimmed(reader.rest());
    if (value != "nan" && value != "error") reader.complain("nulls is ", quote(value), "; write nan or error");
    return value == "error";
}

std::string stand_in(Reader& reader) {
    if (!reader.rest().empty() && reader.rest().front() != '"') return std::string(trimmed(reader.rest()));
    if (reader.done())
        reader.complain("null.<column> has no value; write what stands in for NULL, as in null.age = 40");
    std::string text = reader.name("");
    if (!reader.done()) reader.complain("what is ", quote(reader.rest()), " after the closing double quote?");
    return text;
}

void read_option(const std::string& name, Reader& reader, Options& options) {
    if (name == "keys") {
        options.keys = names(reader);
    } else if (name == "features") {
        options.features = names(reader);
    } else if (name == "outputs") {
        options.outputs = choices(reader);
    } else if (name == "nulls") {
        options.strict_nulls = strict_nulls(reader);
    } else if (name == "threads") {
        options.threads = static_cast<int>(reader.number(name, 0, most_threads));
    } else if (name == "batch") {
        options.batch = reader.number(name, 1, largest_batch);
    } else if (name == "text_length") {
        options.text_length = reader.number(name, 1, longest_text);
    } else {
        reader.complain("there is no option ", quote(name), "; the options are ", known);
    }
}

void read_line(std::string_view line, std::size_t number, Options& options, std::set<std::string>& seen) {
    Reader reader(line, number);
    const std::string name = reader.name("=.");
    if (reader.take('.')) {
        if (name != "null") reader.complain("there is no option ", quote(name + "."), "; the options are ", known);
        const std::string column = reader.name("=");
        if (!reader.take('=')) reader.complain(quote(line), " has no value; write name = value");
        if (!options.stand_ins.emplace(column, stand_in(reader)).second) {
            reader.complain("null.", column, " stands twice");
        }
        return;
    }
    if (!reader.take('=')) reader.complain(quote(line), " has no value; write name = value");
    if (!seen.insert(name).second) reader.complain(name, " stands twice");
    read_option(name, reader, options);
}

}  // namespace

Options parse_options(std::string_view script) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (script.substr(0, byte_order_mark.size()) == byte_order_mark) script.remove_prefix(byte_order_mark.size());
    Options options;
    std::set<std::string> seen;
    for (std::size_t number = 1; !script.empty(); ++number) {
        const std::size_t end = script.find('\n');
        const std::string_view line = trimmed(script.substr(0, end));
        script.remove_prefix(end == std::string_view::npos ? script.size() : end + 1);
        if (line.empty() || line.front() == '#' || line.substr(0, 2) == "--") continue;
        read_line(line, number, options, seen);
    }
    return options;
}

}  // namespace onnx_sql
