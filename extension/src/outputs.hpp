// Tensors that the model gives, turned into result columns a batch of rows at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "model.hpp"
#include "results.hpp"

namespace onnx_sql {

// One output of the model, and where its columns go.
class OutputTensor {
  public:
    explicit OutputTensor(const Tensor& tensor);
    OutputTensor(const OutputTensor&) = delete;
    OutputTensor(OutputTensor&&) = delete;
    OutputTensor& operator=(const OutputTensor&) = delete;
    OutputTensor& operator=(OutputTensor&&) = delete;
    virtual ~OutputTensor() = default;

    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    // How many columns there are; nothing where the model leaves it open and has not run yet.
    [[nodiscard]] std::optional<std::size_t> width() const { return width_; }
    // The same, where it is known.
    [[nodiscard]] std::size_t columns() const { return width_.value_or(0); }
    // Looks at what the model made of `rows` rows. Raises Error where that is no table of as many rows, or has another
    // number of columns than before.
    void learn(const Tensor& actual, std::size_t rows);

    [[nodiscard]] virtual ResultType result_type() const = 0;
    // Result column `result` is the output's column `column`.
    void send(std::size_t column, std::size_t result) { routes_.push_back({column, result}); }

    // Where ONNX Runtime shall write `padded` rows; null where it shall make the tensor itself. Valid until the next
    // call.
    virtual ort::Value* target(Results& results, std::size_t first, std::size_t padded) = 0;
    // Takes `count` rows out of what the model wrote or made.
    virtual void take(ort::Value* value, Results& results, std::size_t first, std::size_t count) = 0;
    // Takes `count` rows that this library computed: `columns[k]` points at the tensor's column k, of its own elements.
    virtual void take_columns(const std::vector<const void*>& columns, Results& results, std::size_t first,
                              std::size_t count) = 0;

  protected:
    struct Route {
        std::size_t column;
        std::size_t result;
    };
    [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }
    // The shape of so many rows; only after learn.
    [[nodiscard]] std::vector<std::int64_t> shape_of(std::size_t rows) const;

  private:
    const Tensor& tensor_;
    std::optional<std::size_t> width_;
    std::size_t rank_ = 0;
    std::vector<Route> routes_;
};

// Raises Error where no column can hold the output.
std::unique_ptr<OutputTensor> make_output(const Runtime& runtime, const Tensor& tensor, std::size_t text_length);

}  // namespace onnx_sql
