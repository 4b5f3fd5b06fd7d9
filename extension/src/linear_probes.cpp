#include <algorithm>
#include <limits>
#include <random>

#include "probes.hpp"

namespace onnx_sql {
namespace {

constexpr std::size_t probes = 512;

class Making {
  public:
    explicit Making(const Linear& linear) : linear_(linear) { make_rows(); }

    Probes take() { return {probes, std::move(columns_)}; }

  private:
    float& at(std::size_t row, std::size_t feature) { return columns_[feature * probes + row]; }

    void make_rows() {
        columns_.resize(probes * linear_.features);
        // The same rows each time, from a generator that every library has alike; the sum of four is normal enough.
        std::minstd_rand random(1);  // NOLINT(bugprone-random-generator-seed,cert-msc32-c,cert-msc51-cpp)
        const auto number = [&] {
            double sum = -2;
            for (int turn = 0; turn < 4; ++turn) sum += static_cast<double>(random()) / std::minstd_rand::max();
            return sum * 1.7;
        };
        for (std::size_t row = 0; row < probes; ++row) {
            // Half of them between two classes, where the least difference of a sum gives another label.
            const bool between = row >= probes / 2;
            const double stretch = row < probes / 8 ? 8 : 1;
            std::vector<double> values(linear_.features);
            for (double& value : values) value = number() * stretch;
            if (between && linear_.sums > 1) bring_between(values);
            for (std::size_t feature = 0; feature < linear_.features; ++feature) {
                at(row, feature) = static_cast<float>(unscaled(feature, values[feature]));
            }
        }
        constexpr float nan = std::numeric_limits<float>::quiet_NaN();
        for (std::size_t feature = 0; feature < linear_.features; ++feature) {
            at(0, feature) = 0;
            at(1, feature) = nan;
            at(2 + feature % (probes / 16), feature) = nan;
        }
    }

    // The value that the model's own scaling makes a number of.
    [[nodiscard]] double unscaled(std::size_t feature, double number) const {
        if (linear_.preparation.scales.empty()) return number;
        const double scale = linear_.preparation.scales[feature];
        return linear_.preparation.offsets[feature] + (scale == 0 ? 0 : number / scale);
    }

    // Moves a row to where its two greatest sums are equal.
    void bring_between(std::vector<double>& values) const {
        const std::size_t features = linear_.features;
        std::vector<double> sums;
        for (std::size_t sum = 0; sum < linear_.sums; ++sum) {
            double total = linear_.intercepts[sum];
            for (std::size_t feature = 0; feature < features; ++feature) {
                total += values[feature] * static_cast<double>(linear_.weights[sum * features + feature]);
            }
            sums.push_back(total);
        }
        const auto first = static_cast<std::size_t>(std::max_element(sums.begin(), sums.end()) - sums.begin());
        double distance = std::numeric_limits<double>::infinity();
        std::size_t second = first;
        for (std::size_t sum = 0; sum < linear_.sums; ++sum) {
            if (sum == first || sums[first] - sums[sum] >= distance) continue;
            distance = sums[first] - sums[sum];
            second = sum;
        }
        double length = 0;
        const auto direction = [&](std::size_t feature) {
            return static_cast<double>(linear_.weights[first * features + feature]) -
                   static_cast<double>(linear_.weights[second * features + feature]);
        };
        for (std::size_t feature = 0; feature < features; ++feature) length += direction(feature) * direction(feature);
        if (second == first || length == 0) return;
        for (std::size_t feature = 0; feature < features; ++feature) {
            values[feature] -= distance / length * direction(feature);
        }
    }

    const Linear& linear_;
    std::vector<float> columns_;
};

}  // namespace

Probes make_probes(const Linear& linear) { return Making(linear).take(); }

}  // namespace onnx_sql
