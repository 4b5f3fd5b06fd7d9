#include "scorer.hpp"

#include <algorithm>

#include "errors.hpp"

namespace onnx_sql {
namespace {

// A batch's inputs: half of a server's second-level cache. Smaller batches read columns in shorter runs and call ONNX
// Runtime more often; larger ones are no faster.
constexpr std::size_t batch_bytes = std::size_t{1} << 19U;
constexpr std::size_t least_batch = 256;
constexpr std::size_t most_batch = std::size_t{1} << 14U;

// Releases the outputs that ONNX Runtime made; those that it was given belong to their OutputTensor.
class MadeOutputs {
  public:
    MadeOutputs(const Runtime& runtime, const std::vector<ort::Value*>& given, const std::vector<ort::Value*>& after) {
        for (std::size_t index = 0; index < given.size(); ++index) {
            if (given[index] == nullptr) values_.emplace_back(after[index], runtime);
        }
    }

  private:
    std::vector<Handle<ort::Value>> values_;
};

}  // namespace

Scorer::Scorer(const Model& model, const std::vector<Column>& columns, const Options& options)
    : model_(model), options_(options), binding_(bind(model, columns, options)) {
    options_.stand_ins = bind_stand_ins(binding_, columns, options);
    choose_outputs(options_);
    choose_batch(options_);
    for (std::size_t index = 0; index < model.inputs().size(); ++index) {
        inputs_.push_back(make_input(model.runtime(), model.inputs()[index], binding_.inputs[index], options_, batch_));
    }
    direct_ = Direct::prove(model, outputs_, output_names_);
}

void Scorer::choose_outputs(const Options& options) {
    std::vector<OutputChoice> wanted = options.outputs;
    if (wanted.empty()) {
        for (const Tensor& tensor : model_.outputs()) wanted.push_back({tensor.name, std::nullopt});
    }
    for (const OutputChoice& choice : wanted) {
        const auto& tensors = model_.outputs();
        const auto tensor =
            std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == choice.name; });
        if (tensor == tensors.end()) {
            std::string names;
            for (const Tensor& known : tensors) names += (names.empty() ? "" : ", ") + quote(known.name);
            fail("@script names ", quote(choice.name), " in outputs, which is no output of the model; it has ", names);
        }
        auto output =
            std::find_if(outputs_.begin(), outputs_.end(), [&](const auto& o) { return &o->tensor() == &*tensor; });
        if (output == outputs_.end()) {
            outputs_.push_back(make_output(model_.runtime(), *tensor, options.text_length));
            output_names_.push_back(tensor->name.c_str());
            output = std::prev(outputs_.end());
        }
        choices_.push_back({static_cast<std::size_t>(output - outputs_.begin()), choice.column});
    }
}

void Scorer::choose_batch(const Options& options) {
    std::size_t row_bytes = 0;
    for (std::size_t index = 0; index < model_.inputs().size(); ++index) {
        const Tensor& tensor = model_.inputs()[index];
        row_bytes += element_size(tensor.element) * binding_.inputs[index].size();
        if (tensor.shape[0] < 0) continue;
        const auto size = static_cast<std::size_t>(tensor.shape[0]);
        if (size == 0 || (batch_is_fixed_ && size != batch_)) {
            fail("the model's input ", quote(tensor.name), " is ", to_text(tensor),
                 "; expected a first dimension for rows");
        }
        // Sizes in bytes follow from it, and must not overflow.
        if (size > largest_batch) {
            fail("the model's input ", quote(tensor.name), " is ", to_text(tensor), " and takes ", size,
                 " rows at once; the most is ", largest_batch, ". Export the model with a dynamic first dimension");
        }
        batch_ = size;
        batch_is_fixed_ = true;
    }
    if (batch_is_fixed_) return;
    batch_ = options.batch;
    if (batch_ != 0) return;
    const auto threads = static_cast<std::size_t>(std::max(options.threads, 1));
    batch_ = std::clamp(batch_bytes / std::max<std::size_t>(row_bytes, 1), least_batch, most_batch) * threads;
}

bool Scorer::knows_widths() const {
    return std::all_of(outputs_.begin(), outputs_.end(),
                       [](const auto& output) { return output->width().has_value(); });
}

void Scorer::lay_out(Results& results) {
    std::vector<ResultType> types;
    types.reserve(binding_.keys.size() + choices_.size());
    for (const Column* key : binding_.keys) types.push_back({key->type, key->size, key->digits, key->nullable});
    struct Way {
        OutputTensor& output;
        std::size_t column;
        std::size_t result;
    };
    std::vector<Way> ways;  // taken once all are known to be there: a chunk may be tried again after an error
    for (const Choice& choice : choices_) {
        OutputTensor& output = *outputs_[choice.output];
        const std::size_t width = output.columns();
        if (choice.column && *choice.column >= width) {
            fail("@script names ", output.tensor().name, "[", *choice.column, "] in outputs, but the output has ",
                 width, " columns, counted from 0");
        }
        const std::size_t first = choice.column.value_or(0);
        const std::size_t last = choice.column ? first + 1 : width;
        if (last - first > most_result_columns - std::min(types.size(), most_result_columns)) {
            fail("the model's output ", quote(output.tensor().name), " has ", width,
                 " columns, and a result has at most ", most_result_columns,
                 "; choose some with outputs = ... in @script");
        }
        for (std::size_t column = first; column < last; ++column) {
            ways.push_back({output, column, types.size()});
            types.push_back(output.result_type());
        }
    }
    results.lay_out(std::move(types));
    for (const Way& way : ways) way.output.send(way.column, way.result);
}

void Scorer::score(const std::vector<Values>& chunk, std::size_t rows, Results& results) {
    for (const auto& input : inputs_) input->open(chunk);
    if (rows == 0 && !results.is_laid_out()) {
        if (!knows_widths()) learn_from_a_blank_row();
        lay_out(results);
    }
    if (direct_ != nullptr && !results.is_laid_out()) lay_out(results);
    if (results.is_laid_out()) make_room(rows, results);
    if (direct_ != nullptr) {
        direct_->score(*inputs_.front(), results, outputs_, 0, rows);
    } else {
        for (std::size_t first = 0; first < rows; first += batch_) run(rows, first, results);
    }
    for (std::size_t index = 0; index < binding_.keys.size(); ++index) {
        results.pass_through(index, chunk[binding_.keys[index]->number]);
    }
    results.finish();
}

void Scorer::make_room(std::size_t rows, Results& results) const {
    const std::size_t padding = batch_is_fixed_ ? (batch_ - rows % batch_) % batch_ : 0;
    results.begin(rows, rows + padding);
}

void Scorer::run(std::size_t rows, std::size_t first, Results& results) {
    const std::size_t count = std::min(batch_, rows - first);
    const std::size_t padded = batch_is_fixed_ ? batch_ : count;
    std::vector<const ort::Value*> filled;
    filled.reserve(inputs_.size());
    for (const auto& input : inputs_) filled.push_back(input->fill(first, count, padded));
    // The first run shows what the outputs look like; models are not always right about that.
    std::vector<ort::Value*> values(outputs_.size(), nullptr);
    for (std::size_t index = 0; has_run_ && index < outputs_.size(); ++index) {
        values[index] = outputs_[index]->target(results, first, padded);
    }
    const std::vector<ort::Value*> ours = values;
    model_.run(filled, output_names_, values);
    const MadeOutputs made(model_.runtime(), ours, values);
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        if (ours[index] == nullptr) outputs_[index]->learn(describe(model_.runtime(), values[index]), padded);
    }
    if (!results.is_laid_out()) {
        lay_out(results);
        make_room(rows, results);
    }
    has_run_ = true;  // only now, when the outputs have places to write to
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        outputs_[index]->take(values[index], results, first, count);
    }
}

void Scorer::learn_from_a_blank_row() {
    const std::size_t rows = batch_is_fixed_ ? batch_ : 1;
    std::vector<const ort::Value*> blank;
    blank.reserve(inputs_.size());
    for (const auto& input : inputs_) blank.push_back(input->blank(rows));
    const std::vector<ort::Value*> none(outputs_.size(), nullptr);
    std::vector<ort::Value*> values = none;
    try {
        model_.run(blank, output_names_, values);
    } catch (const Error& error) {
        fail("no row came, and the model does not say how many columns its outputs have: ", error.what());
    }
    const MadeOutputs made(model_.runtime(), none, values);
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        outputs_[index]->learn(describe(model_.runtime(), values[index]), rows);
    }
}

}  // namespace onnx_sql
