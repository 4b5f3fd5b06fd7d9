// A model that is computed from columns as they lie, some rows at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "convert.hpp"
#include "linear.hpp"
#include "linear_kernels.hpp"
#include "trees.hpp"

namespace onnx_sql {

class ColumnModel {
  public:
    ColumnModel() = default;
    ColumnModel(const ColumnModel&) = delete;
    ColumnModel(ColumnModel&&) = delete;
    ColumnModel& operator=(const ColumnModel&) = delete;
    ColumnModel& operator=(ColumnModel&&) = delete;
    virtual ~ColumnModel() = default;

    // Computes up to `rows_together` rows of one column for each feature.
    virtual void compute(const Run<float>* columns, std::size_t rows) = 0;
    // Where output `name` has its columns after that: labels of 64-bit integers, or 32-bit floats.
    [[nodiscard]] virtual std::vector<const void*> columns_of(const std::string& name) const = 0;
};

// They keep references to both.
std::unique_ptr<ColumnModel> make_column_model(const Linear& linear, const LinearKernels& kernels);
std::unique_ptr<ColumnModel> make_column_model(const Trees& trees, const LinearKernels& kernels);

}  // namespace onnx_sql
