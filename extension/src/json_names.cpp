#include "json_names.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "utf.hpp"

namespace onnx_sql {
namespace {

class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    std::optional<std::vector<std::string>> list() {
        std::vector<std::string> names;
        if (!takes('[')) return std::nullopt;
        do {
            auto name = text();
            if (!name) return std::nullopt;
            names.push_back(std::move(*name));
        } while (takes(','));
        if (!takes(']')) return std::nullopt;
        skip_blanks();
        return rest_.empty() ? std::optional(std::move(names)) : std::nullopt;
    }

  private:
    void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

    bool takes(char wanted) {
        skip_blanks();
        if (rest_.empty() || rest_.front() != wanted) return false;
        rest_.remove_prefix(1);
        return true;
    }

    std::optional<std::string> text() {
        if (!takes('"')) return std::nullopt;
        std::string found;
        while (!rest_.empty()) {
            const char next = rest_.front();
            rest_.remove_prefix(1);
            if (next == '"') return found;
            if (next != '\\') {
                found += next;
            } else if (!escaped(found)) {
                return std::nullopt;
            }
        }
        return std::nullopt;
    }

    bool escaped(std::string& found) {
        if (rest_.empty()) return false;
        constexpr std::string_view letters = "\"\\/bfnrt";
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        const char letter = rest_.front();
        if (letter == 'u') return units(found);
        rest_.remove_prefix(1);
        const std::size_t place = letters.find(letter);
        if (place == std::string_view::npos) return false;
        found += meant[place];
        return true;
    }

    // Of \uXXXX as many as follow each other: a character beyond the first plane is written as two.
    bool units(std::string& found) {
        std::string utf16;
        for (bool goes_on = true; goes_on;) {
            if (rest_.size() < 5) return false;
            std::uint16_t unit = 0;
            const char* end = rest_.data() + 5;
            if (std::from_chars(rest_.data() + 1, end, unit, 16).ptr != end) return false;
            utf16 += static_cast<char>(unit & 0xFF);
            utf16 += static_cast<char>(unit >> 8);
            rest_.remove_prefix(5);
            goes_on = rest_.substr(0, 2) == "\\u";
            if (goes_on) rest_.remove_prefix(1);
        }
        const auto length = utf::utf8_length(utf16.data(), utf16.size());
        if (!length) return false;
        const std::size_t before = found.size();
        found.resize(before + *length);
        utf::to_utf8(utf16.data(), utf16.size(), found.data() + before);
        return true;
    }

    std::string_view rest_;
};

}  // namespace

std::vector<std::string> json_names(std::string_view text) {
    return Reader(text).list().value_or(std::vector<std::string>());
}

}  // namespace onnx_sql
