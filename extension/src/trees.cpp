#include "trees.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "tree_attributes.hpp"

namespace onnx_sql {
namespace {

using onnx::Node;
using Source = TreeAttributes::Node;

constexpr std::size_t most_sums = 16;
// What the 16 bits of TreeNode can say.
constexpr std::size_t most_places = std::numeric_limits<std::uint16_t>::max();

// The number of each column of TreeNode.
class Columns {
  public:
    std::uint16_t place(std::size_t feature, bool is_missing_least) {
        const auto [found, is_new] = places_.emplace(std::pair(feature, is_missing_least), columns_.size());
        if (is_new) columns_.push_back({feature, is_missing_least});
        return static_cast<std::uint16_t>(found->second);
    }

    [[nodiscard]] std::size_t size() const { return columns_.size(); }
    std::vector<Trees::Column> take() { return std::move(columns_); }

  private:
    std::map<std::pair<std::size_t, bool>, std::size_t> places_;
    std::vector<Trees::Column> columns_;
};

// The column that is NaN everywhere, until their number is known.
constexpr std::uint16_t nowhere = most_places;

float as_float(std::uint32_t bits) {
    float value = 0;
    static_assert(sizeof value == sizeof bits);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Packs one tree. Children lie side by side, so whoever is reached a second time is so through a node that leads there.
class Packing {
  public:
    Packing(const std::vector<Source>& sources, std::size_t begin, std::size_t end, Columns& columns)
        : sources_(sources), begin_(begin), placed_(end - begin, 0), columns_(columns) {}

    // The nodes, with `value_of` leaf as theirs; false where the tree is too large, or runs in a circle.
    template <class ValueOf>
    bool pack(ValueOf value_of) {
        if (!is_without_circle()) return false;
        nodes_.resize(1);
        if (sources_[begin_].mode == TreeMode::leaf) {
            // A leaf leads to the node behind the one before it, so there must be one.
            nodes_.push_back({value_of(sources_[begin_]), nowhere, 0});
            nodes_[0] = {0, nowhere, 0};
            return true;
        }
        open_.emplace_back(0, begin_);
        while (!open_.empty()) {
            const auto [place, source] = open_.back();
            open_.pop_back();
            if (sources_[source].mode == TreeMode::leaf) {
                nodes_[place] = {value_of(sources_[source]), nowhere, static_cast<std::uint16_t>(place - 1)};
            } else {
                branch(place, sources_[source]);
            }
            if (nodes_.size() > most_places || columns_.size() >= most_places) return false;
        }
        return true;
    }

    [[nodiscard]] const std::vector<TreeNode>& nodes() const { return nodes_; }

    // Tests from the root to the farthest and to the nearest leaf.
    [[nodiscard]] std::pair<std::size_t, std::size_t> depths() const {
        std::size_t nearest = std::numeric_limits<std::size_t>::max();
        std::size_t depth = 0;
        // Level by level; a node that is reached in several ways counts on its last level for the one, on its first for
        // the other.
        std::vector<std::size_t> last(nodes_.size(), 0);
        std::vector<std::size_t> level{0};
        std::vector<std::size_t> next;
        for (std::size_t here = 0; !level.empty(); ++here, level.swap(next)) {
            next.clear();
            for (const std::size_t place : level) {
                const TreeNode& node = nodes_[place];
                const std::size_t right = std::size_t{node.left} + 1;
                if (right == place) {
                    depth = std::max(depth, here);
                    nearest = std::min(nearest, here);
                    continue;
                }
                const bool leads_on = node.column == nowhere;
                for (std::size_t child = leads_on ? right : node.left; child <= right; ++child) {
                    if (last[child] == here + 1) continue;
                    last[child] = here + 1;
                    next.push_back(child);
                }
            }
        }
        return {depth, nearest};
    }

  private:
    // Follows each way once, without recursion: a chain of tests may be longer than the stack.
    bool is_without_circle() {
        enum class State : std::uint8_t { unseen, above, done };
        std::vector<State> states(placed_.size(), State::unseen);
        std::vector<std::size_t> way{begin_};
        while (!way.empty()) {
            const std::size_t current = way.back();
            states[current - begin_] = State::above;
            const Source& source = sources_[current];
            bool is_done = true;
            if (source.mode != TreeMode::leaf) {
                for (const std::size_t child : {source.yes, source.no}) {
                    if (states[child - begin_] == State::above) return false;
                    if (states[child - begin_] == State::done) continue;
                    way.push_back(child);
                    is_done = false;
                    break;
                }
            }
            if (!is_done) continue;
            states[current - begin_] = State::done;
            way.pop_back();
        }
        return true;
    }

    // Room for two nodes side by side.
    std::size_t pair() {
        nodes_.resize(nodes_.size() + 2);
        return nodes_.size() - 2;
    }

    void put(std::size_t place, std::size_t source) {
        std::size_t& placed = placed_[source - begin_];
        if (placed != 0) {
            nodes_[place] = {0, nowhere, static_cast<std::uint16_t>(placed - 1)};
            return;
        }
        placed = place;
        open_.emplace_back(place, source);
    }

    // Every test as "at most": x < t is that of the next smaller float, x >= t what x < t leaves, and so on.
    void branch(std::size_t place, const Source& source) {
        const float less = std::nextafter(source.value, -std::numeric_limits<float>::infinity());
        switch (source.mode) {
            case TreeMode::leq:
                test(place, source, source.value, source.is_missing_yes, source.yes, source.no);
                break;
            case TreeMode::lt:
                test(place, source, less, source.is_missing_yes, source.yes, source.no);
                break;
            case TreeMode::gt:
                test(place, source, source.value, !source.is_missing_yes, source.no, source.yes);
                break;
            case TreeMode::gte:
                test(place, source, less, !source.is_missing_yes, source.no, source.yes);
                break;
            case TreeMode::eq:
                equal(place, source, source.is_missing_yes, source.yes, source.no);
                break;
            default:
                // What is missing is not equal to anything, whatever is said of what is missing.
                equal(place, source, false, source.no, source.yes);
                break;
        }
    }

    void test(std::size_t place, const Source& source, float limit, bool is_missing_least, std::size_t at_most,
              std::size_t above) {
        const std::size_t left = pair();
        nodes_[place] = node(source, limit, is_missing_least, left);
        put(left, at_most);
        put(left + 1, above);
    }

    // At most the value, and then not at most the next smaller one.
    void equal(std::size_t place, const Source& source, bool is_missing_least, std::size_t same, std::size_t other) {
        const float less = std::nextafter(source.value, -std::numeric_limits<float>::infinity());
        const std::size_t left = pair();
        const std::size_t inner = pair();
        nodes_[place] = node(source, source.value, is_missing_least, left);
        nodes_[left] = node(source, less, false, inner);
        put(left + 1, other);
        put(inner, other);
        put(inner + 1, same);
    }

    TreeNode node(const Source& source, float limit, bool is_missing_least, std::size_t left) {
        return {limit, columns_.place(source.feature, is_missing_least), static_cast<std::uint16_t>(left)};
    }

    const std::vector<Source>& sources_;
    std::size_t begin_;
    // Where each of the tree's nodes is; 0 is the root, which nothing leads to.
    std::vector<std::size_t> placed_;
    Columns& columns_;
    std::vector<TreeNode> nodes_;
    // What is to be put where.
    std::vector<std::pair<std::size_t, std::size_t>> open_;
};

class Reading {
  public:
    Reading(const Chain& chain, std::size_t features) : chain_(chain) {
        found_.features = features;
        found_.preparation = chain.preparation;
    }

    std::optional<Trees> read(const std::vector<std::string>& outputs) {
        const auto names = matched(chain_, outputs);
        if (!names || chain_.nodes.size() != 1) return std::nullopt;
        found_.label_output = names->label;
        found_.scores_output = names->value;
        const Node& node = *chain_.nodes[0];
        const bool is_classifier = node.type == "TreeEnsembleClassifier" && node.outputs.size() == 2;
        if (!is_classifier && (node.type != "TreeEnsembleRegressor" || node.outputs.size() != 1)) return std::nullopt;
        if (!find_finish(node) || !(is_classifier ? read_classes(node) : read_targets(node))) return std::nullopt;
        return std::move(found_);
    }

  private:
    bool find_finish(const Node& node) {
        const std::string& text = attribute(node, "post_transform").text;
        if (text == "LOGISTIC") found_.finish = Finish::logistic;
        if (text == "SOFTMAX") found_.finish = Finish::softmax;
        return text.empty() || text == "NONE" || found_.finish != Finish::none;
    }

    bool read_targets(const Node& node) {
        const std::int64_t targets = has(node, "n_targets") ? attribute(node, "n_targets").integer : 1;
        if (targets < 1 || targets > static_cast<std::int64_t>(most_sums)) return false;
        const auto sums = static_cast<std::size_t>(targets);
        const auto read = read_trees(node, found_.features, sums);
        if (!read || !pack(*read, sums)) return false;
        const std::string& aggregate = attribute(node, "aggregate_function").text;
        if (aggregate == "AVERAGE") found_.divisor = static_cast<float>(found_.trees.size());
        if (!aggregate.empty() && aggregate != "AVERAGE" && aggregate != "SUM") return false;
        found_.base = attribute(node, "base_values").numbers;
        // ONNX Runtime transforms several targets only.
        if (sums == 1) found_.finish = Finish::none;
        const bool all_known =
            std::all_of(known_.begin(), known_.end(), [](Known each) { return each == Known::always; });
        return all_known && (found_.base.empty() || found_.base.size() == sums);
    }

    bool read_classes(const Node& node) {
        found_.labels = attribute(node, "classlabels_int64s").integers;
        const std::size_t classes = found_.labels.size();
        if (classes < 2 || classes > most_sums || has(node, "classlabels_strings")) return false;
        const auto read = read_trees(node, found_.features, classes);
        if (!read || !pack(*read, classes)) return false;
        found_.base = attribute(node, "base_values").numbers;
        return classes == 2 ? read_two_classes(*read) : read_many_classes();
    }

    [[nodiscard]] bool read_many_classes() const {
        // A sum that no leaf adds to is no candidate for the label, unless it has a base value.
        const bool all_known =
            std::all_of(known_.begin(), known_.end(), [](Known each) { return each == Known::always; });
        return found_.base.empty() ? all_known : found_.base.size() == found_.sums;
    }

    // ONNX Runtime has a rule of its own for two classes: tree_ensemble_aggregator.h and ml_common.h of its sources.
    bool read_two_classes(const TreeAttributes& read) {
        if (known_[0] == Known::always && known_[1] == Known::never) {
            if (!read.has_one_target || found_.base.size() > 1) return false;
            found_.ending = Ending::one_score;
            found_.is_share = read.is_positive;
        } else if (known_[0] == Known::always && known_[1] == Known::always) {
            found_.ending = Ending::two_scores;
            if (found_.base.size() > 2) return false;
        } else {
            return false;
        }
        if (read.has_one_target) {
            found_.limit = read.is_positive ? 0.5F : 0.0F;
        } else {
            found_.labels = {0, 1};  // whatever they are called
        }
        // Of a single score only the logistic function is taken.
        if (found_.ending == Ending::one_score && found_.finish == Finish::softmax) found_.finish = Finish::none;
        return true;
    }

    enum class Known : std::uint8_t { never, sometimes, always };

    bool pack(const TreeAttributes& read, std::size_t sums) {
        found_.sums = sums;
        known_.assign(sums, Known::never);
        Columns columns;
        for (std::size_t tree = 0; tree + 1 < read.trees.size(); ++tree) {
            if (!pack_tree(read, read.trees[tree], read.trees[tree + 1], columns)) return false;
        }
        found_.columns = columns.take();
        const auto last = static_cast<std::uint16_t>(found_.columns.size());
        for (TreeNode& node : found_.nodes) {
            if (node.column == nowhere) node.column = last;
        }
        return true;
    }

    bool pack_tree(const TreeAttributes& read, std::size_t begin, std::size_t end, Columns& columns) {
        const auto sum = only_sum(read, begin, end);
        Packing packing(read.nodes, begin, end, columns);
        bool is_sound = true;
        const auto value_of = [&](const Source& leaf) {
            if (sum) return read.weights[leaf.first_weight].value;
            is_sound = add_leaf(read, leaf) && is_sound;
            return as_float(static_cast<std::uint32_t>(found_.leaves.size() / found_.sums - 1));
        };
        if (!packing.pack(value_of) || !is_sound) return false;
        const auto [depth, nearest] = packing.depths();
        found_.trees.push_back({found_.nodes.size(), depth, nearest, sum});
        found_.nodes.insert(found_.nodes.end(), packing.nodes().begin(), packing.nodes().end());
        learn_known(read, begin, end, sum);
        return true;
    }

    // The target of all leaves, where each has one weight and it is the same everywhere.
    [[nodiscard]] static std::optional<std::size_t> only_sum(const TreeAttributes& read, std::size_t begin,
                                                             std::size_t end) {
        std::optional<std::size_t> sum;
        for (std::size_t place = begin; place < end; ++place) {
            const Source& leaf = read.nodes[place];
            if (leaf.mode != TreeMode::leaf) continue;
            if (leaf.end_weight != leaf.first_weight + 1) return std::nullopt;
            const std::size_t target = read.weights[leaf.first_weight].target;
            if (sum && *sum != target) return std::nullopt;
            sum = target;
        }
        return sum;
    }

    // Adding zero for a target that the leaf has no weight of changes no sum. False where it has one twice.
    bool add_leaf(const TreeAttributes& read, const Source& leaf) {
        const std::size_t first = found_.leaves.size();
        found_.leaves.resize(first + found_.sums, 0.0F);
        std::vector<bool> seen(found_.sums);
        for (std::size_t weight = leaf.first_weight; weight < leaf.end_weight; ++weight) {
            const auto [target, value] = read.weights[weight];
            if (seen[target]) return false;
            seen[target] = true;
            found_.leaves[first + target] = value;
        }
        return true;
    }

    void learn_known(const TreeAttributes& read, std::size_t begin, std::size_t end, std::optional<std::size_t> sum) {
        if (sum) {
            known_[*sum] = Known::always;
            return;
        }
        std::vector<std::size_t> leaves_of(found_.sums);
        std::size_t leaves = 0;
        for (std::size_t place = begin; place < end; ++place) {
            const Source& leaf = read.nodes[place];
            if (leaf.mode != TreeMode::leaf) continue;
            ++leaves;
            for (std::size_t weight = leaf.first_weight; weight < leaf.end_weight; ++weight) {
                ++leaves_of[read.weights[weight].target];
            }
        }
        for (std::size_t target = 0; target < found_.sums; ++target) {
            if (leaves_of[target] == 0 || known_[target] == Known::always) continue;
            known_[target] = leaves_of[target] == leaves ? Known::always : Known::sometimes;
        }
    }

    const Chain& chain_;
    // Whether a leaf adds to each sum, for every row.
    std::vector<Known> known_;
    Trees found_;
};

}  // namespace

std::optional<Trees> find_trees(const Chain& chain, std::size_t features, const std::vector<std::string>& outputs) {
    return Reading(chain, features).read(outputs);
}

}  // namespace onnx_sql
