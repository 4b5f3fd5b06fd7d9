#include "onnx_graph.hpp"

#include <cstring>
#include <stdexcept>
#include <string_view>

namespace onnx_sql::onnx {
namespace {

// A linear model has a handful of nodes and some weights for each feature; an ensemble has its trees in attributes,
// some forty bytes a node. What is larger is neither, or not worth reading.
constexpr std::size_t most_bytes = std::size_t{1} << 28U;
constexpr std::size_t most_weight_bytes = std::size_t{1} << 20U;
constexpr std::size_t most_nodes = 12;

// What is no protocol buffer, or one that is not for here.
struct Unreadable : std::runtime_error {
    Unreadable() : std::runtime_error("not read here") {}
};

enum class Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// Walks over the fields of one message. https://protobuf.dev/programming-guides/encoding/
class Fields {
  public:
    explicit Fields(std::string_view bytes) : rest_(bytes) {}

    // Goes on to the next field; false at the end.
    bool next() {
        if (rest_.empty()) return false;
        const std::uint64_t key = varint();
        number_ = key >> 3U;
        wire_ = static_cast<Wire>(key & 7U);
        switch (wire_) {
            case Wire::varint:
                value_ = varint();
                break;
            case Wire::fixed64:
                content_ = take(8);
                break;
            case Wire::fixed32:
                content_ = take(4);
                break;
            case Wire::bytes:
                content_ = take(varint());
                break;
            default:
                throw Unreadable();
        }
        return true;
    }

    [[nodiscard]] std::uint64_t number() const { return number_; }
    [[nodiscard]] std::string_view bytes() const { return expect(Wire::bytes), content_; }
    [[nodiscard]] std::string text() const { return std::string(bytes()); }
    [[nodiscard]] std::int64_t integer() const { return expect(Wire::varint), static_cast<std::int64_t>(value_); }

    [[nodiscard]] float number32() const {
        expect(Wire::fixed32);
        float number = 0;
        std::memcpy(&number, content_.data(), sizeof number);
        return number;
    }

    // A repeated number: one, or several packed into bytes.
    void append(std::vector<float>& numbers) const {
        if (wire_ == Wire::fixed32) {
            numbers.push_back(number32());
        } else {
            append_raw(bytes(), numbers);
        }
    }
    void append(std::vector<std::int64_t>& integers) const {
        if (wire_ == Wire::varint) {
            integers.push_back(integer());
            return;
        }
        Fields packed(bytes());
        while (!packed.rest_.empty()) integers.push_back(static_cast<std::int64_t>(packed.varint()));
    }

    static void append_raw(std::string_view bytes, std::vector<float>& numbers) {
        if (bytes.size() % sizeof(float) != 0) throw Unreadable();
        const std::size_t before = numbers.size();
        numbers.resize(before + bytes.size() / sizeof(float));
        if (!bytes.empty()) std::memcpy(numbers.data() + before, bytes.data(), bytes.size());
    }

  private:
    void expect(Wire wire) const {
        if (wire_ != wire) throw Unreadable();
    }

    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            if (rest_.empty()) throw Unreadable();
            const auto byte = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
            if (byte < 0x80) return value;
        }
        throw Unreadable();
    }

    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) throw Unreadable();
        const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(taken.size());
        return taken;
    }

    std::string_view rest_;
    std::uint64_t number_ = 0;
    Wire wire_ = Wire::varint;
    std::uint64_t value_ = 0;
    std::string_view content_;
};

// TensorProto; without a name, one that is not of 32-bit floats in this file.
std::pair<std::string, Weight> read_weight(std::string_view bytes) {
    constexpr std::int64_t float32 = 1;
    std::string name;
    Weight weight;
    std::int64_t type = 0;
    bool is_elsewhere = false;
    for (Fields field(bytes); field.next();) {
        if (field.number() == 1) field.append(weight.shape);
        if (field.number() == 2) type = field.integer();
        if (field.number() == 4) field.append(weight.values);
        if (field.number() == 8) name = field.text();
        if (field.number() == 9) Fields::append_raw(field.bytes(), weight.values);
        if (field.number() == 13 || field.number() == 14) is_elsewhere = true;
        if (field.number() == 9 && type != float32) break;  // other types' bytes mean something else
    }
    if (type != float32 || is_elsewhere) return {};
    return {name, std::move(weight)};
}

std::pair<std::string, Attribute> read_attribute(std::string_view bytes) {
    std::string name;
    Attribute attribute;
    for (Fields field(bytes); field.next();) {
        switch (field.number()) {
            case 1:
                name = field.text();
                break;
            case 2:
                attribute.number = field.number32();
                break;
            case 3:
                attribute.integer = field.integer();
                break;
            case 4:
                attribute.text = field.text();
                break;
            case 5:   // a tensor
            case 6:   // a graph
            case 22:  // a sparse tensor
                throw Unreadable();
            case 7:
                field.append(attribute.numbers);
                break;
            case 8:
                field.append(attribute.integers);
                break;
            case 9:
                attribute.texts.push_back(field.bytes());
                break;
            default:
                break;
        }
    }
    return {name, std::move(attribute)};
}

Node read_node(std::string_view bytes) {
    Node node;
    for (Fields field(bytes); field.next();) {
        if (field.number() == 1) node.inputs.push_back(field.text());
        if (field.number() == 2) node.outputs.push_back(field.text());
        if (field.number() == 4) node.type = field.text();
        if (field.number() == 5) node.attributes.insert(read_attribute(field.bytes()));
        if (field.number() == 7) {
            const std::string_view domain = field.bytes();
            if (!domain.empty() && domain != "ai.onnx" && domain != "ai.onnx.ml") throw Unreadable();
        }
    }
    return node;
}

Graph read_body(std::string_view bytes) {
    Graph graph;
    std::size_t weight_bytes = 0;
    for (Fields field(bytes); field.next();) {
        if (field.number() == 1) graph.nodes.push_back(read_node(field.bytes()));
        if (graph.nodes.size() > most_nodes) throw Unreadable();
        if (field.number() != 5) continue;
        weight_bytes += field.bytes().size();
        if (weight_bytes > most_weight_bytes) throw Unreadable();
        graph.weights.insert(read_weight(field.bytes()));
    }
    return graph;
}

}  // namespace

std::optional<Graph> read_graph(const void* bytes, std::size_t size) {
    if (size > most_bytes) return std::nullopt;
    try {
        for (Fields field({static_cast<const char*>(bytes), size}); field.next();) {
            if (field.number() == 25) return std::nullopt;  // functions: a node's type may be one of them
            if (field.number() == 7) return read_body(field.bytes());
        }
    } catch (const Unreadable&) {
        return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace onnx_sql::onnx
