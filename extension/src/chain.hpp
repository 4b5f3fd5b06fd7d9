// A model as one value that goes from node to node.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "onnx_graph.hpp"

namespace onnx_sql {

// What becomes of a feature before it is read: what NaN becomes, and (x - offset) * scale. Each has a number for every
// feature, and is empty where there is no such step.
struct Preparation {
    std::vector<float> imputed;
    std::vector<float> offsets;
    std::vector<float> scales;
};

// The nodes between a model's input and its outputs, each of which reads what the one before it gives.
struct Chain {
    Preparation preparation;
    // Those after the preparation, without what changes nothing.
    std::vector<const onnx::Node*> nodes;
    // What the label and the value are called at the end; a label is the first of a node's two outputs.
    std::vector<std::string> label_names;
    std::vector<std::string> value_names;
};

// The names of a model's outputs, empty where it does not give them.
struct OutputNames {
    std::string label;
    std::string value;
};

// The chain that begins at the input of that name and width; nothing where the graph is none. It points into the graph.
std::optional<Chain> follow(const onnx::Graph& graph, const std::string& input, std::size_t features);

// Which output is which; nothing where one is neither.
std::optional<OutputNames> matched(const Chain& chain, const std::vector<std::string>& outputs);

// A node's attribute; one that is empty where it has none of the name.
const onnx::Attribute& attribute(const onnx::Node& node, const char* name);
bool has(const onnx::Node& node, const char* name);

}  // namespace onnx_sql
