// Whether ONNX Runtime's functions are the ones that src/abi/onnxruntime.hpp takes them for.
#pragma once

#include "runtime.hpp"

namespace onnx_sql {

// Runs a small model of numbers and text through every function that the library calls. Raises Error where anything
// comes out otherwise than it must, before a user's model is touched.
void self_test(const Runtime& runtime);

}  // namespace onnx_sql
