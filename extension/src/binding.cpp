#include "binding.hpp"

#include <algorithm>
#include <string>

#include "errors.hpp"

namespace onnx_sql {
namespace {

using Columns = std::vector<const Column*>;

std::string listed(const Columns& columns) {
    std::string text;
    for (const Column* column : columns) text += (text.empty() ? "" : ", ") + quote(column->name);
    return text.empty() ? "none" : text;
}

Columns pointers(const std::vector<Column>& columns) {
    Columns list;
    for (const Column& column : columns) list.push_back(&column);
    return list;
}

bool contains(const Columns& columns, const Column* column) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
}

Columns named(const std::vector<Column>& columns, const std::vector<std::string>& names, std::string_view option) {
    Columns list;
    for (const std::string& name : names) {
        const Column* column = find_column(columns, name);
        if (column == nullptr) {
            fail("@script names ", quote(name), " in ", option, ", which is no column of the query; it has ",
                 listed(pointers(columns)));
        }
        if (contains(list, column)) fail("@script names ", quote(name), " twice in ", option);
        list.push_back(column);
    }
    return list;
}

// Whether the input takes several columns, or may.
bool is_wide(const Tensor& tensor) { return tensor.shape.size() == 2 && tensor.shape[1] != 1; }

void check_shape(const Tensor& tensor) {
    if (tensor.shape.empty() || tensor.shape.size() > 2) {
        fail("the model's input ", quote(tensor.name), " is ", to_text(tensor),
             "; columns can fill [N], [N, 1] or [N, F]");
    }
}

void check_width(const Tensor& tensor, const Columns& columns, bool are_listed) {
    const std::int64_t width = tensor.shape[1];
    if (!columns.empty() && (width < 0 || static_cast<std::int64_t>(columns.size()) == width)) return;
    fail(
        "the model's input ", quote(tensor.name), " is ", to_text(tensor), " and takes ",
        width < 0 ? "at least one column" : std::to_string(width) + " columns", ", but ",
        are_listed ? "features lists " : "the query leaves it ", columns.size(), ": ", listed(columns),
        are_listed ? "" : "; name the columns that are no features in keys = ..., or those that are in features = ...");
}

class Binder {
  public:
    Binder(const Model& model, const std::vector<Column>& columns, const Options& options)
        : model_(model), columns_(columns), options_(options) {
        binding_.keys = named(columns, options.keys, "keys");
        binding_.inputs.resize(model.inputs().size());
    }

    Binding bind() {
        std::vector<std::size_t> single;
        std::vector<std::size_t> wide;
        for (std::size_t index = 0; index < model_.inputs().size(); ++index) {
            check_shape(model_.inputs()[index]);
            (is_wide(model_.inputs()[index]) ? wide : single).push_back(index);
        }
        if (wide.size() > 1) {
            fail("the model has ", wide.size(),
                 " inputs of several columns, and nothing says which column goes to which; "
                 "export it with one");
        }
        if (wide.empty() && !options_.features.empty() && single.size() != options_.features.size()) {
            fail("features lists ", options_.features.size(), " columns, but the model has ", single.size(),
                 " inputs of one");
        }
        if (wide.empty() && !options_.features.empty()) {
            bind_in_order(single, named(columns_, options_.features, "features"));
        } else {
            bind_single(single, wide.empty());
        }
        if (!wide.empty()) bind_wide(wide.front());
        check_all_used();
        return std::move(binding_);
    }

  private:
    // The columns that are neither keys nor bound.
    [[nodiscard]] Columns free() const {
        Columns list;
        for (const Column& column : columns_) {
            if (!contains(binding_.keys, &column) && !is_bound(&column)) list.push_back(&column);
        }
        return list;
    }

    [[nodiscard]] bool is_bound(const Column* column) const {
        return std::any_of(binding_.inputs.begin(), binding_.inputs.end(),
                           [&](const Columns& bound) { return contains(bound, column); });
    }

    void bind_in_order(const std::vector<std::size_t>& inputs, const Columns& columns) {
        for (std::size_t index = 0; index < inputs.size(); ++index) binding_.inputs[inputs[index]] = {columns[index]};
    }

    // Inputs of one column: by name, and by order where the query names no column.
    void bind_single(const std::vector<std::size_t>& inputs, bool may_go_by_order) {
        std::string missing;
        std::size_t found = 0;
        for (const std::size_t input : inputs) {
            const std::string& name = model_.inputs()[input].name;
            const Column* column = find_column(columns_, name);
            if (column == nullptr) {
                missing += (missing.empty() ? "" : ", ") + quote(name);
                continue;
            }
            // Found without regard to case, it may be another input's column already.
            if (is_bound(column)) fail_twice(column, name);
            binding_.inputs[input] = {column};
            ++found;
        }
        if (found == inputs.size()) return;
        const Columns left = free();
        const bool has_names =
            std::any_of(left.begin(), left.end(), [](const Column* column) { return !column->name.empty(); });
        if (!has_names && may_go_by_order && left.size() == inputs.size()) {
            bind_in_order(inputs, left);
            return;
        }
        fail("the query has no column for the model's input ", missing, "; it leaves ", listed(left),
             ". Give the columns the inputs' names as aliases",
             may_go_by_order ? ", or list the columns in features = ..., in the order of the model's inputs" : "");
    }

    [[noreturn]] static void fail_twice(const Column* column, const std::string& input) {
        fail("the column ", quote(column->name), " would feed two inputs of the model, one of them ", quote(input),
             ": the same values twice; select a column for each, with the input's name as its alias");
    }

    void bind_wide(std::size_t input) {
        const bool are_listed = !options_.features.empty();
        binding_.inputs[input] = are_listed                       ? by_the_list(input)
                                 : model_.feature_names().empty() ? free()
                                                                  : by_the_models_names(input);
        check_width(model_.inputs()[input], binding_.inputs[input], are_listed);
    }

    [[nodiscard]] Columns by_the_list(std::size_t input) const {
        const Columns list = named(columns_, options_.features, "features");
        for (const Column* column : list) {
            if (is_bound(column)) fail_twice(column, model_.inputs()[input].name);
        }
        return list;
    }

    // The query's order may be another one than that of training, and the model says which that is.
    [[nodiscard]] Columns by_the_models_names(std::size_t input) const {
        Columns left = free();
        if (std::all_of(left.begin(), left.end(), [](const Column* column) { return column->name.empty(); }))
            return left;
        Columns list;
        for (const std::string& name : model_.feature_names()) {
            const Column* column = find_column(columns_, name);
            // The very name of another input too is the model's own word that both read it.
            const bool is_taken =
                column != nullptr && (contains(list, column) || (is_bound(column) && column->name != name));
            if (column == nullptr || is_taken) {
                fail(
                    "the model's input ", quote(model_.inputs()[input].name), " takes the column ", quote(name),
                    column == nullptr ? ", which the query does not have; it leaves " : " twice; the query leaves ",
                    listed(left),
                    ". Give the columns the names of training as aliases, or list them in features = ..., in the order "
                    "of training");
            }
            list.push_back(column);
        }
        return list;
    }

    void check_all_used() const {
        const Columns unused = free();
        if (unused.empty()) return;
        fail("the model does not read ", listed(unused),
             "; leave what it does not read out of the query, or pass it through with keys = ... in @script");
    }

    const Model& model_;
    const std::vector<Column>& columns_;
    const Options& options_;
    Binding binding_;
};

}  // namespace

Binding bind(const Model& model, const std::vector<Column>& columns, const Options& options) {
    return Binder(model, columns, options).bind();
}

std::map<std::string, std::string> bind_stand_ins(const Binding& binding, const std::vector<Column>& columns,
                                                  const Options& options) {
    std::map<std::string, std::string> stand_ins;
    for (const auto& [name, value] : options.stand_ins) {
        const Column* column = find_column(columns, name);
        const bool is_read = std::any_of(binding.inputs.begin(), binding.inputs.end(),
                                         [&](const Columns& bound) { return contains(bound, column); });
        if (column == nullptr || !is_read) {
            fail("@script says null.", name, " = ", value, ", but the model reads no column ", quote(name));
        }
        stand_ins[column->name] = value;
    }
    return stand_ins;
}

}  // namespace onnx_sql
