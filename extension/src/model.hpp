// The ONNX model: a session of ONNX Runtime, and what goes in and comes out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "abi/onnxruntime.hpp"
#include "linear.hpp"
#include "runtime.hpp"
#include "trees.hpp"

namespace onnx_sql {

// One input or output. A dimension of -1 is not fixed.
struct Tensor {
    std::string name;
    ort::ElementType element;
    std::vector<std::int64_t> shape;
};

// As people write it: float[N, 28].
std::string to_text(const Tensor& tensor);
std::string to_text(ort::ElementType element);

class Model {
  public:
    // Raises Error where the bytes are no model that ONNX Runtime can run, or an input or output is no tensor.
    Model(const Runtime& runtime, const void* bytes, std::size_t size, int threads);

    [[nodiscard]] const Runtime& runtime() const { return runtime_; }
    [[nodiscard]] const std::vector<Tensor>& inputs() const { return inputs_; }
    [[nodiscard]] const std::vector<Tensor>& outputs() const { return outputs_; }
    // What the metadata property feature_names calls the columns of the one wide input; none where it is no list of
    // names.
    [[nodiscard]] const std::vector<std::string>& feature_names() const { return feature_names_; }

    // What the model computes, where it is linear, or an ensemble of trees.
    [[nodiscard]] const std::optional<Linear>& linear() const { return linear_; }
    [[nodiscard]] const std::optional<Trees>& trees() const { return trees_; }

    // Runs the model. `inputs` are in the model's order. Of `outputs`, those that are null are made by ONNX Runtime.
    void run(const std::vector<const ort::Value*>& inputs, const std::vector<const char*>& output_names,
             std::vector<ort::Value*>& outputs) const;

  private:
    void look_inside(const void* bytes, std::size_t size);

    const Runtime& runtime_;
    Handle<ort::SessionHandle> session_;
    std::vector<Tensor> inputs_;
    std::vector<Tensor> outputs_;
    std::vector<const char*> input_names_;
    std::vector<std::string> feature_names_;
    std::optional<Linear> linear_;
    std::optional<Trees> trees_;
};

// The element type and dimensions of a value that the model made.
Tensor describe(const Runtime& runtime, const ort::Value* value);

}  // namespace onnx_sql
