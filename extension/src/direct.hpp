// Scores models from columns as they lie, where that is proven to give what ONNX Runtime gives.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "column_model.hpp"
#include "model.hpp"
#include "outputs.hpp"
#include "results.hpp"
#include "tensors.hpp"

namespace onnx_sql {

class Direct {
  public:
    // For a linear model or an ensemble of trees, after its answers on rows made for it were compared with ONNX
    // Runtime's. Null for any other model, and where answers differ. The outputs learn what the model gives.
    static std::unique_ptr<Direct> prove(const Model& model, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
                                         const std::vector<const char*>& output_names);

    // Scores rows [first, first + count) of the chunk that the input has opened.
    void score(InputTensor& input, Results& results, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
               std::size_t first, std::size_t count);

  private:
    Direct(std::unique_ptr<ColumnModel> model, std::size_t features);

    std::unique_ptr<ColumnModel> model_;
    std::size_t features_;
    Buffer<float> converted_;
    std::vector<Run<float>> columns_;
};

}  // namespace onnx_sql
