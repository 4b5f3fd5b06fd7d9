// What the person who wrote the query reads.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace onnx_sql {

// Something that the query, the model or the installation must change. The message names what came, what was
// expected, and the fix.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Throws an Error whose message is its arguments, written one after the other.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(text.str());
}

// A name as it stands in a message: in single quotes, those inside doubled.
std::string quote(std::string_view name);

// Writes one line to stderr, which SQL Server shows to the user. One call, so that lines of several tasks do not mix.
void report(std::string_view message) noexcept;

}  // namespace onnx_sql
