// Names as SQL Server compares them under its usual collations.
#pragma once

#include <string_view>

namespace onnx_sql {

// Whether two names are one but for the case of letters and the width of Latin ones, as under a collation _CI_AS.
bool same_but_for_case(std::string_view left, std::string_view right);

}  // namespace onnx_sql
