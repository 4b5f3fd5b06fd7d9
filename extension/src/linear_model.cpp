#include <cstdint>

#include "buffer.hpp"
#include "column_model.hpp"

namespace onnx_sql {
namespace {

class LinearModel : public ColumnModel {
  public:
    LinearModel(const Linear& linear, const LinearKernels& kernels)
        : linear_(linear),
          view_(linear),
          kernels_(kernels),
          tiles_(columns_at_once * rows_together),
          sums_(linear.sums * rows_together),
          labels_(linear.labels.empty() ? 0 : rows_together) {}

    void compute(const Run<float>* columns, std::size_t rows) override {
        kernels_.sum(view_, columns, rows, sums_.data(), tiles_.data());
        if (!linear_.labels.empty()) choose_labels(linear_.labels, sums_.data(), rows, labels_.data());
        kernels_.finish(linear_.finish, linear_.sums, rows, sums_.data(), tiles_.data());
    }

    [[nodiscard]] std::vector<const void*> columns_of(const std::string& name) const override {
        if (name == linear_.label_output) return {labels_.data()};
        std::vector<const void*> columns;
        columns.reserve(linear_.sums);
        for (std::size_t sum = 0; sum < linear_.sums; ++sum) columns.push_back(sums_.data() + sum * rows_together);
        return columns;
    }

  private:
    const Linear& linear_;
    LinearView view_;
    const LinearKernels& kernels_;
    Buffer<float> tiles_;
    Buffer<float> sums_;
    Buffer<std::int64_t> labels_;
};

}  // namespace

std::unique_ptr<ColumnModel> make_column_model(const Linear& linear, const LinearKernels& kernels) {
    return std::make_unique<LinearModel>(linear, kernels);
}

}  // namespace onnx_sql
