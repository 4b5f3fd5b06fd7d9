// Tensors that feed the model, filled from columns a batch of rows at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "columns.hpp"
#include "convert.hpp"
#include "model.hpp"
#include "options.hpp"

namespace onnx_sql {

// One input of the model and the columns that fill it.
class InputTensor {
  public:
    InputTensor() = default;
    InputTensor(const InputTensor&) = delete;
    InputTensor(InputTensor&&) = delete;
    InputTensor& operator=(const InputTensor&) = delete;
    InputTensor& operator=(InputTensor&&) = delete;
    virtual ~InputTensor() = default;

    // Takes the chunk's values, of all columns of the query.
    virtual void open(const std::vector<Values>& chunk) = 0;
    // Fills the tensor with the chunk's next `count` rows; where `padded` is more, the last row is repeated.
    virtual const ort::Value* fill(std::size_t first, std::size_t count, std::size_t padded) = 0;
    // The column at a place of an input of 32-bit floats, NaN where it is NULL: where the host put it, or converted
    // into `scratch` of `count` elements.
    virtual Run<float> column(std::size_t place, std::size_t first, std::size_t count, float* scratch);
    // Fills the tensor with rows of zeros or empty text.
    virtual const ort::Value* blank(std::size_t rows) = 0;
};

// Binds columns to an input. Raises Error where a column's type does not go with the input's, or an option's stand-in
// for NULL is no value of it.
std::unique_ptr<InputTensor> make_input(const Runtime& runtime, const Tensor& tensor,
                                        std::vector<const Column*> columns, const Options& options, std::size_t batch);

// The bytes that one element takes in memory while it is on its way.
std::size_t element_size(ort::ElementType element);

}  // namespace onnx_sql
