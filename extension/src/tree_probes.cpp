#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "probes.hpp"

namespace onnx_sql {
namespace {

// More rows reach more thresholds, and take longer: some for each leaf, and so many tests for all rows together, which
// is some 20 ms.
constexpr std::size_t rows_for_leaf = 4;
constexpr std::size_t most_tests = std::size_t{1} << 20U;
constexpr std::size_t least_rows = 256;
constexpr std::size_t most_rows = 4096;

// Walks random ways to leaves, and gives each feature that is asked on the way a value on the right side of the
// threshold, close to it; all other features get thresholds of theirs, which other trees ask for.
class Making {
  public:
    explicit Making(const Trees& trees) : trees_(trees), thresholds_(trees.features) {
        std::size_t tests = 1;
        for (const Tree& tree : trees.trees) tests += tree.depth;
        // Half of the nodes are leaves.
        const std::size_t wanted = rows_for_leaf * trees.nodes.size() / 2;
        rows_ = std::clamp(std::min(wanted, most_tests / tests), least_rows, most_rows);
        for (std::size_t place = 0; place < trees.nodes.size(); ++place) {
            const TreeNode& node = trees.nodes[place];
            if (node.column == trees.columns.size()) continue;
            thresholds_[trees.columns[node.column].feature].push_back(node.value);
        }
        columns_.resize(rows_ * trees.features);
        for (std::size_t row = 0; row < rows_; ++row) make_row(row);
    }

    Probes take() { return {rows_, std::move(columns_)}; }

  private:
    static constexpr float infinity = std::numeric_limits<float>::infinity();
    static constexpr float nan = std::numeric_limits<float>::quiet_NaN();

    std::size_t below(std::size_t limit) { return random_() % limit; }

    void make_row(std::size_t row) {
        for (std::size_t feature = 0; feature < trees_.features; ++feature) {
            put(row, feature, near(any_threshold(feature)));
        }
        lead(row, trees_.trees[below(trees_.trees.size())]);
        // One row in four has what is missing or infinite, a few features of it or all.
        if (below(4) != 0) return;
        const std::array<float, 3> odd{nan, infinity, -infinity};
        const std::size_t kinds = below(2) == 0 ? 1 : odd.size();
        const std::size_t share = below(8) == 0 ? trees_.features : 1 + below(8);
        for (std::size_t feature = 0; feature < trees_.features; ++feature) {
            if (below(trees_.features) < share) put(row, feature, odd[below(kinds)]);
        }
    }

    float any_threshold(std::size_t feature) {
        const auto& known = thresholds_[feature];
        return known.empty() ? 0 : known[below(known.size())];
    }

    // At it, right below, right above, or at some distance.
    float near(float threshold) {
        switch (below(5)) {
            case 0:
                return std::nextafter(threshold, -infinity);
            case 1:
                return std::nextafter(threshold, infinity);
            case 2:
                return threshold - 1;
            case 3:
                return threshold + 1;
            default:
                return threshold;
        }
    }

    void lead(std::size_t row, const Tree& tree) {
        const TreeNode* nodes = trees_.nodes.data() + tree.first;
        std::vector<std::array<float, 2>> bounds(trees_.features, {-infinity, infinity});  // (low, high]
        std::size_t place = 0;
        while (nodes[place].left + std::size_t{1} != place) {
            const TreeNode& node = nodes[place];
            if (node.column == trees_.columns.size()) {
                place = node.left + std::size_t{1};
                continue;
            }
            const std::size_t feature = trees_.columns[node.column].feature;
            auto& [low, high] = bounds[feature];
            const bool may_left = low < node.value;
            const bool may_right = node.value < high;
            const bool goes_left = may_left && (!may_right || below(2) == 0);
            if (goes_left && node.value < high) high = node.value;
            if (!goes_left && node.value > low) low = node.value;
            const float lowest = std::nextafter(low, infinity);
            // The bound that this test made, or the other one.
            const bool at_high = low == -infinity || (high != infinity && below(4) != 0 ? goes_left : !goes_left);
            put(row, feature, at_high && high != infinity ? high : lowest);
            place = node.left + std::size_t{goes_left ? 0U : 1U};
        }
    }

    // What the model's own scaling makes nearly that of.
    void put(std::size_t row, std::size_t feature, float value) {
        const Preparation& steps = trees_.preparation;
        if (!steps.scales.empty() && steps.scales[feature] != 0) {
            value = value / steps.scales[feature] + steps.offsets[feature];
        }
        columns_[feature * rows_ + row] = value;
    }

    const Trees& trees_;
    // The same rows each time, from a generator that every library has alike.
    std::minstd_rand random_{1};  // NOLINT(bugprone-random-generator-seed,cert-msc32-c,cert-msc51-cpp)
    std::size_t rows_ = 0;
    std::vector<std::vector<float>> thresholds_;
    std::vector<float> columns_;
};

}  // namespace

Probes make_probes(const Trees& trees) { return Making(trees).take(); }

}  // namespace onnx_sql
