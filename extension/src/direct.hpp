// Scores linear models from columns as they lie, where that is proven to give what ONNX Runtime gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "linear_kernels.hpp"
#include "model.hpp"
#include "outputs.hpp"
#include "results.hpp"
#include "tensors.hpp"

namespace onnx_sql {

class Direct {
  public:
    // For a linear model, after its answers on rows made for it were compared with ONNX Runtime's: labels are the same,
    // also of rows between two classes, and numbers differ by 1e-5 at most. Null for any other model, and where answers
    // differ. The outputs learn what the model gives.
    static std::unique_ptr<Direct> prove(const Model& model, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
                                         const std::vector<const char*>& output_names);

    // Scores rows [first, first + count) of the chunk that the input has opened.
    void score(InputTensor& input, Results& results, const std::vector<std::unique_ptr<OutputTensor>>& outputs,
               std::size_t first, std::size_t count);

  private:
    Direct(const Linear& linear, const LinearKernels& kernels);

    // Scores up to `rows_together` rows, into sums_ and labels_.
    void compute(const Run<float>* columns, std::size_t rows);
    // Where output `name` has its columns after that.
    [[nodiscard]] std::vector<const void*> columns_of(const std::string& name) const;

    friend class Proof;

    const Linear& linear_;
    LinearView view_;
    const LinearKernels& kernels_;
    Buffer<float> converted_;
    Buffer<float> tiles_;
    Buffer<float> sums_;
    Buffer<std::int64_t> labels_;
    std::vector<Run<float>> columns_;
};

}  // namespace onnx_sql
