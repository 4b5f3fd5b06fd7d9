// The proof that a model computed here answers as ONNX Runtime does.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "column_model.hpp"
#include "model.hpp"
#include "outputs.hpp"
#include "probes.hpp"

namespace onnx_sql {

class Proof {
  public:
    using Outputs = std::vector<std::unique_ptr<OutputTensor>>;

    // Asks ONNX Runtime, once; the outputs learn from its answers. Raises Error where it cannot run the model.
    Proof(const Model& model, Probes probes, const Outputs& outputs, const std::vector<const char*>& names);

    // Whether the answers are the same: labels are, also of rows between two classes, and numbers differ by 1e-5 at
    // most, relative to those above 1.
    [[nodiscard]] bool holds_for(ColumnModel& ours) const;

  private:
    [[nodiscard]] bool holds_for(const ColumnModel& ours, std::size_t first, std::size_t rows) const;

    const Model& model_;
    Probes probes_;
    const Outputs& outputs_;
    std::vector<Handle<ort::Value>> answers_;
};

}  // namespace onnx_sql
