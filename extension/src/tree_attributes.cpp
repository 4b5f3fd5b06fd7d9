#include "tree_attributes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "chain.hpp"

namespace onnx_sql {
namespace {

const std::map<std::string_view, TreeMode>& modes() {
    static const std::map<std::string_view, TreeMode> known{{"LEAF", TreeMode::leaf},     {"BRANCH_LEQ", TreeMode::leq},
                                                            {"BRANCH_LT", TreeMode::lt},  {"BRANCH_GTE", TreeMode::gte},
                                                            {"BRANCH_GT", TreeMode::gt},  {"BRANCH_EQ", TreeMode::eq},
                                                            {"BRANCH_NEQ", TreeMode::neq}};
    return known;
}

// Finds nodes by tree and number. Exporters write them in order, so a guess is right as a rule.
class Places {
  public:
    Places(const std::vector<std::int64_t>& trees, const std::vector<std::int64_t>& numbers) : numbers_(numbers) {
        for (std::size_t place = 0; place < trees.size(); ++place) {
            if (place > 0 && trees[place] == trees[place - 1]) continue;
            starts_.push_back(place);
            is_sound_ = by_tree_.emplace(trees[place], starts_.size() - 1).second && is_sound_;
        }
        starts_.push_back(trees.size());
        for (std::size_t tree = 0; tree + 1 < starts_.size(); ++tree) sort(tree);
    }

    // No tree is in two pieces, and no two nodes of one have the same number.
    [[nodiscard]] bool is_sound() const { return is_sound_; }
    [[nodiscard]] const std::vector<std::size_t>& starts() const { return starts_; }

    [[nodiscard]] std::optional<std::size_t> find(std::size_t tree, std::int64_t number) const {
        const std::size_t first = starts_[tree];
        const std::size_t count = starts_[tree + 1] - first;
        if (number >= 0 && static_cast<std::uint64_t>(number) < count) {
            const std::size_t guess = first + static_cast<std::size_t>(number);
            if (numbers_[guess] == number) return guess;
        }
        const auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(first);
        const auto end = begin + static_cast<std::ptrdiff_t>(count);
        const auto found = std::lower_bound(begin, end, number,
                                            [&](std::size_t place, auto wanted) { return numbers_[place] < wanted; });
        if (found == end || numbers_[*found] != number) return std::nullopt;
        return *found;
    }

    [[nodiscard]] std::optional<std::size_t> find_tree(std::int64_t tree) const {
        const auto found = by_tree_.find(tree);
        if (found == by_tree_.end()) return std::nullopt;
        return found->second;
    }

  private:
    void sort(std::size_t tree) {
        for (std::size_t place = starts_[tree]; place < starts_[tree + 1]; ++place) sorted_.push_back(place);
        const auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(starts_[tree]);
        const auto before = [&](std::size_t left, std::size_t right) { return numbers_[left] < numbers_[right]; };
        if (!std::is_sorted(begin, sorted_.end(), before)) std::sort(begin, sorted_.end(), before);
        const auto same = [&](std::size_t left, std::size_t right) { return numbers_[left] == numbers_[right]; };
        is_sound_ = std::adjacent_find(begin, sorted_.end(), same) == sorted_.end() && is_sound_;
    }

    const std::vector<std::int64_t>& numbers_;
    std::vector<std::size_t> starts_;
    std::vector<std::size_t> sorted_;
    std::map<std::int64_t, std::size_t> by_tree_;
    bool is_sound_ = true;
};

bool is_whole(std::int64_t value, std::size_t limit) { return value >= 0 && static_cast<std::uint64_t>(value) < limit; }

class Reading {
  public:
    Reading(const onnx::Node& node, std::size_t features, std::size_t targets)
        : node_(node),
          prefix_(node.type == "TreeEnsembleClassifier" ? "class_" : "target_"),
          features_(features),
          targets_(targets),
          places_(integers("nodes_treeids"), integers("nodes_nodeids")) {}

    std::optional<TreeAttributes> read() {
        const bool has_all = places_.is_sound() && node_.attributes.count("nodes_modes") == 1;
        if (!has_all || !read_nodes() || !read_weights()) return std::nullopt;
        found_.trees = places_.starts();
        return std::move(found_);
    }

  private:
    [[nodiscard]] const std::vector<std::int64_t>& integers(const std::string& name) const {
        return attribute(node_, name.c_str()).integers;
    }

    bool read_nodes() {
        const auto& texts = attribute(node_, "nodes_modes").texts;
        const auto& numbers = integers("nodes_nodeids");
        const auto& features = integers("nodes_featureids");
        const auto& yes = integers("nodes_truenodeids");
        const auto& no = integers("nodes_falsenodeids");
        const auto& missing = integers("nodes_missing_value_tracks_true");
        const auto& values = attribute(node_, "nodes_values").numbers;
        const std::size_t count = texts.size();
        for (const std::size_t size :
             {places_.starts().back(), numbers.size(), features.size(), yes.size(), no.size(), values.size()}) {
            if (size != count) return false;
        }
        if (count == 0) return false;
        found_.nodes.reserve(count);
        for (std::size_t tree = 0; tree + 1 < places_.starts().size(); ++tree) {
            for (std::size_t place = places_.starts()[tree]; place < places_.starts()[tree + 1]; ++place) {
                const auto mode = modes().find(texts[place]);
                if (mode == modes().end()) return false;
                TreeAttributes::Node node;
                node.mode = mode->second;
                if (node.mode != TreeMode::leaf) {
                    const auto yes_place = places_.find(tree, yes[place]);
                    const auto no_place = places_.find(tree, no[place]);
                    if (!yes_place || !no_place || !is_whole(features[place], features_)) return false;
                    // What is smaller than a threshold is asked for by the next smaller number.
                    if (!(values[place] > -std::numeric_limits<float>::infinity())) return false;
                    node.yes = *yes_place;
                    node.no = *no_place;
                    node.feature = static_cast<std::size_t>(features[place]);
                    node.value = values[place];
                    node.is_missing_yes = place < missing.size() && missing[place] == 1;
                }
                found_.nodes.push_back(node);
            }
        }
        return true;
    }

    bool read_weights() {
        const auto& trees = integers(prefix_ + "treeids");
        const auto& numbers = integers(prefix_ + "nodeids");
        const auto& targets = integers(prefix_ + "ids");
        const auto& values = attribute(node_, (prefix_ + "weights").c_str()).numbers;
        const std::size_t count = values.size();
        if (count == 0 || trees.size() != count || numbers.size() != count || targets.size() != count) return false;
        std::vector<std::pair<std::size_t, std::size_t>> order;  // the node, and which weight
        order.reserve(count);
        found_.has_one_target = true;
        found_.is_positive = true;
        std::optional<std::size_t> tree;
        for (std::size_t weight = 0; weight < count; ++weight) {
            if (weight == 0 || trees[weight] != trees[weight - 1]) tree = places_.find_tree(trees[weight]);
            const auto place = tree ? places_.find(*tree, numbers[weight]) : std::nullopt;
            if (!place || !is_whole(targets[weight], targets_) || !std::isfinite(values[weight])) return false;
            found_.has_one_target = found_.has_one_target && targets[weight] == targets[0];
            found_.is_positive = found_.is_positive && !(values[weight] < 0);
            // ONNX Runtime leaves out what an old exporter gave to other nodes than leaves.
            if (found_.nodes[*place].mode == TreeMode::leaf) order.emplace_back(*place, weight);
        }
        if (!std::is_sorted(order.begin(), order.end())) std::sort(order.begin(), order.end());
        for (const auto& [place, weight] : order) {
            TreeAttributes::Node& leaf = found_.nodes[place];
            if (leaf.end_weight == 0) leaf.first_weight = found_.weights.size();
            found_.weights.push_back({static_cast<std::size_t>(targets[weight]), values[weight]});
            leaf.end_weight = found_.weights.size();
        }
        return true;
    }

    const onnx::Node& node_;
    std::string prefix_;
    std::size_t features_;
    std::size_t targets_;
    Places places_;
    TreeAttributes found_;
};

}  // namespace

std::optional<TreeAttributes> read_trees(const onnx::Node& node, std::size_t features, std::size_t targets) {
    return Reading(node, features, targets).read();
}

}  // namespace onnx_sql
