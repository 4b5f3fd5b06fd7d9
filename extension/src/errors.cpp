#include "errors.hpp"

#include <algorithm>
#include <cstdio>

namespace onnx_sql {

std::string quote(std::string_view name) {
    std::string text = "'";
    for (const char letter : name) {
        text += letter;
        if (letter == '\'') text += letter;
    }
    return text + "'";
}

void report(std::string_view message) noexcept {
    try {
        std::string line = "ONNX: ";
        line += message;
        // ONNX Runtime's own messages may hold line breaks; SQL Server would show each line as a message of its own.
        // Other control characters, which names may hold, mean nothing to a reader either.
        std::replace_if(line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7F'; }, ' ');
        line += '\n';
        (void)std::fwrite(line.data(), 1, line.size(), stderr);
    } catch (...) {
        (void)std::fputs("ONNX: out of memory\n", stderr);
    }
    (void)std::fflush(stderr);
}

}  // namespace onnx_sql
