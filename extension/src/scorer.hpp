// A model bound to the columns of a query: chunks of rows in, result columns out.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "binding.hpp"
#include "columns.hpp"
#include "direct.hpp"
#include "model.hpp"
#include "options.hpp"
#include "outputs.hpp"
#include "results.hpp"
#include "tensors.hpp"

namespace onnx_sql {

class Scorer {
  public:
    // Keeps references to all three. Raises Error where they do not go together.
    Scorer(const Model& model, const std::vector<Column>& columns, const Options& options);

    // Scores a chunk. Each column of the query has its values in `chunk`.
    void score(const std::vector<Values>& chunk, std::size_t rows, Results& results);

  private:
    // One choice of the option `outputs`: an output, whole or a column of it.
    struct Choice {
        std::size_t output = 0;
        std::optional<std::size_t> column;
    };

    void choose_outputs(const Options& options);
    void choose_batch(const Options& options);
    void lay_out(Results& results);
    void make_room(std::size_t rows, Results& results) const;
    // Scores the batch that begins at row `first` of the chunk's `rows`.
    void run(std::size_t rows, std::size_t first, Results& results);
    void learn_from_a_blank_row();
    [[nodiscard]] bool knows_widths() const;

    const Model& model_;
    Options options_;
    Binding binding_;
    std::vector<std::unique_ptr<InputTensor>> inputs_;
    std::vector<std::unique_ptr<OutputTensor>> outputs_;
    std::vector<const char*> output_names_;
    std::vector<Choice> choices_;
    // Scores without ONNX Runtime; null where it must not.
    std::unique_ptr<Direct> direct_;
    std::size_t batch_ = 0;
    // The model takes exactly `batch_` rows, no fewer.
    bool batch_is_fixed_ = false;
    bool has_run_ = false;
};

}  // namespace onnx_sql
