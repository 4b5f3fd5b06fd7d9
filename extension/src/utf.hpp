// UTF-16, which SQL Server's nchar and nvarchar are, and UTF-8, which ONNX strings are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onnx_sql::utf {

// Takes the first character off a text that is not empty; nothing where it is no UTF-8.
std::optional<std::uint32_t> next_point(std::string_view& utf8);

// Whether the bytes are UTF-8: no overlong form, no surrogate, nothing cut off.
bool is_utf8(std::string_view bytes);

// How many bytes the UTF-16 (little-endian, `bytes` long) takes as UTF-8; nothing where it is not UTF-16: an odd
// number of bytes, half a surrogate pair.
std::optional<std::size_t> utf8_length(const void* utf16, std::size_t bytes);

// Writes UTF-8 for UTF-16 that utf8_length has accepted; `target` holds what it counted.
void to_utf8(const void* utf16, std::size_t bytes, char* target);

// Appends the UTF-16 of valid UTF-8 to `target`, which has room for 2 * utf8.size() bytes. Returns the bytes written.
std::size_t to_utf16(std::string_view utf8, void* target);

}  // namespace onnx_sql::utf
