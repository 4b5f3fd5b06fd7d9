// What of an ONNX file the library reads for itself: the nodes of a small graph, and their weights.
// The numbers of fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onnx_sql::onnx {

struct Attribute {
    float number = 0;
    std::int64_t integer = 0;
    std::string text;
    std::vector<float> numbers;
    std::vector<std::int64_t> integers;
    // They point into the model's bytes.
    std::vector<std::string_view> texts;
};

struct Node {
    std::string type;
    std::vector<std::string> inputs;
    std::vector<std::string> outputs;
    std::map<std::string, Attribute> attributes;
};

// A weight of 32-bit floats.
struct Weight {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

struct Graph {
    std::vector<Node> nodes;
    std::map<std::string, Weight> weights;
};

// The graph of a model that ONNX Runtime has loaded; nothing where it has more than a few nodes, or something that is
// not read here. It points into the bytes.
std::optional<Graph> read_graph(const void* bytes, std::size_t size);

}  // namespace onnx_sql::onnx
