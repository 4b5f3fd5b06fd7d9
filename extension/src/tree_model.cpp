#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "buffer.hpp"
#include "column_model.hpp"
#include "tree_kernels.hpp"

namespace onnx_sql {
namespace {

static_assert(rows_together % rows_in_block == 0);
// Of the blocks that are filled before trees read them: they stay in the second cache, or near it.
constexpr std::size_t bytes_of_blocks = std::size_t{1} << 21U;

// How many blocks are filled at a time: as many rows as are scored together, or fewer of many columns.
std::size_t blocks_at_once(std::size_t block_size) {
    const std::size_t fitting = bytes_of_blocks / (block_size * sizeof(float));
    return std::clamp(fitting, std::size_t{1}, rows_together / rows_in_block);
}

class TreeModel : public ColumnModel {
  public:
    TreeModel(const Trees& trees, const LinearKernels& kernels)
        : trees_(trees),
          steps_(trees.preparation),
          kernels_(kernels),
          block_size_((trees.columns.size() + 1) * rows_in_block),
          rows_at_once_(blocks_at_once(block_size_) * rows_in_block),
          // Not a number where nothing else is put: in the last column, and behind the last row.
          blocks_(rows_at_once_ / rows_in_block * block_size_, std::numeric_limits<float>::quiet_NaN()),
          sums_(trees.outputs() * rows_together),
          tile_(rows_together),
          labels_(trees.labels.empty() ? 0 : rows_together) {}

    void compute(const Run<float>* columns, std::size_t rows) override {
        std::fill_n(sums_.begin(), trees_.sums * rows_together, 0.0F);
        for (std::size_t first = 0; first < rows; first += rows_at_once_) {
            add_rows(columns, first, std::min(rows_at_once_, rows - first));
        }
        switch (trees_.ending) {
            case Ending::each:
                end_each(rows);
                break;
            case Ending::one_score:
                end_one_score(rows);
                break;
            case Ending::two_scores:
                end_two_scores(rows);
                break;
        }
        kernels_.finish(trees_.finish, trees_.outputs(), rows, sums_.data(), tile_.data());
    }

    [[nodiscard]] std::vector<const void*> columns_of(const std::string& name) const override {
        if (name == trees_.label_output) return {labels_.data()};
        std::vector<const void*> columns;
        columns.reserve(trees_.outputs());
        for (std::size_t sum = 0; sum < trees_.outputs(); ++sum) columns.push_back(sums_.data() + sum * rows_together);
        return columns;
    }

  private:
    void add_rows(const Run<float>* columns, std::size_t first, std::size_t rows) {
        // A column at a time, in long runs, which memory likes best; then block by block in the first cache.
        for (std::size_t place = 0; place < trees_.columns.size(); ++place) put_column(place, columns, first, rows);
        for (std::size_t start = 0; start < rows; start += rows_in_block) {
            add_trees(trees_, blocks_.data() + start / rows_in_block * block_size_,
                      std::min(rows_in_block, rows - start), sums_.data() + first + start);
        }
    }

    void put_column(std::size_t place, const Run<float>* columns, std::size_t first, std::size_t rows) {
        const auto [feature, is_missing_least] = trees_.columns[place];
        for (std::size_t start = 0; start < rows; start += rows_in_block) {
            Run<float> run = columns[feature];
            run.elements += first + start;
            if (run.indicators != nullptr) run.indicators += first + start;
            const std::size_t count = std::min(rows_in_block, rows - start);
            float* target = blocks_.data() + start / rows_in_block * block_size_ + place * rows_in_block;
            kernels_.prepare(steps_, run, feature, count, target);
            if (!is_missing_least) continue;
            constexpr float least = -std::numeric_limits<float>::infinity();
            for (std::size_t row = 0; row < count; ++row) target[row] = std::isnan(target[row]) ? least : target[row];
        }
    }

    [[nodiscard]] float* sum(std::size_t number) { return sums_.data() + number * rows_together; }

    void end_each(std::size_t rows) {
        for (std::size_t number = 0; number < trees_.sums; ++number) {
            float* values = sum(number);
            if (trees_.divisor != 1) {
                for (std::size_t row = 0; row < rows; ++row) values[row] /= trees_.divisor;
            }
            if (trees_.base.empty()) continue;
            for (std::size_t row = 0; row < rows; ++row) values[row] += trees_.base[number];
        }
        if (!trees_.labels.empty()) choose_labels(trees_.labels, sums_.data(), rows, labels_.data());
    }

    void choose_by_limit(const float* scores, std::size_t rows) {
        for (std::size_t row = 0; row < rows; ++row) labels_[row] = trees_.labels[scores[row] > trees_.limit ? 1 : 0];
    }

    void end_one_score(std::size_t rows) {
        const float base = trees_.base.empty() ? 0.0F : trees_.base[0];
        const bool is_share = trees_.is_share && trees_.finish == Finish::none;
        float* first = sum(0);
        float* second = sum(1);
        for (std::size_t row = 0; row < rows; ++row) {
            second[row] = first[row] + base;
            first[row] = is_share ? 1.0F - second[row] : -second[row];
        }
        choose_by_limit(second, rows);
    }

    void end_two_scores(std::size_t rows) {
        float* first = sum(0);
        float* second = sum(1);
        for (std::size_t row = 0; row < rows; ++row) {
            if (trees_.base.size() == 1) first[row] += trees_.base[0];
            if (trees_.base.size() != 2) continue;
            // ONNX Runtime adds the base value of the second class to the score of the first.
            second[row] = trees_.base[1] + first[row];
            first[row] = -second[row];
        }
        choose_by_limit(second, rows);
    }

    const Trees& trees_;
    PreparationView steps_;
    const LinearKernels& kernels_;
    std::size_t block_size_;
    std::size_t rows_at_once_;
    std::vector<float> blocks_;
    Buffer<float> sums_;
    Buffer<float> tile_;
    Buffer<std::int64_t> labels_;
};

}  // namespace

std::unique_ptr<ColumnModel> make_column_model(const Trees& trees, const LinearKernels& kernels) {
    return std::make_unique<TreeModel>(trees, kernels);
}

}  // namespace onnx_sql
