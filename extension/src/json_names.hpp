// The one piece of JSON that the library reads: a list of names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onnx_sql {

// The texts of a JSON list of texts; none where it is anything else.
std::vector<std::string> json_names(std::string_view text);

}  // namespace onnx_sql
