// Which columns feed which input of the model.
#pragma once

#include <vector>

#include "columns.hpp"
#include "model.hpp"
#include "options.hpp"

namespace onnx_sql {

struct Binding {
    // Columns that pass through, in the order of the option.
    std::vector<const Column*> keys;
    // For each input of the model, its columns in the tensor's order.
    std::vector<std::vector<const Column*>> inputs;
};

// Binds columns to inputs: by name wherever there are names. An input of several columns takes those that the model
// names, else what no name claims, in the order of the query. Raises Error,
// saying what to write, where an input finds no columns, or a column is neither read nor a key.
Binding bind(const Model& model, const std::vector<Column>& columns, const Options& options);

// The stand-ins for NULL by the columns' own names. Raises Error for a name that is no column that the model reads.
std::map<std::string, std::string> bind_stand_ins(const Binding& binding, const std::vector<Column>& columns,
                                                  const Options& options);

}  // namespace onnx_sql
