// A pretend libnvonnxparser: reads just so much of ONNX that `Identity` can be built. It gives a network its
// inputs, and for its name the lines of the plan.
#include "NvOnnxParser.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using nvinfer1::DataType;
using nvinfer1::Dims;

namespace {

// One field of a protobuf message: a number, or bytes.
struct Field {
    uint64_t number = 0;
    uint64_t value = 0;
    std::string_view bytes;
};

bool read_varint(std::string_view &message, uint64_t &value) {
    value = 0;
    for (uint32_t shift = 0; shift < 64 && !message.empty(); shift += 7) {
        auto const byte = static_cast<unsigned char>(message.front());
        message.remove_prefix(1);
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

bool read_field(std::string_view &message, Field &field) {
    uint64_t key = 0;
    if (!read_varint(message, key)) {
        return false;
    }
    field = Field{key >> 3, 0, {}};
    uint64_t size = 0;
    switch (key & 7) {
    case 0: return read_varint(message, field.value);
    case 1: size = 8; break;
    case 2:
        if (!read_varint(message, size)) {
            return false;
        }
        break;
    case 5: size = 4; break;
    default: return false;
    }
    if (size > message.size()) {
        return false;
    }
    field.bytes = message.substr(0, size);
    message.remove_prefix(size);
    return true;
}

// The fields of that number.
std::vector<Field> fields(std::string_view message, uint64_t number) {
    std::vector<Field> found;
    for (Field field; !message.empty() && read_field(message, field);) {
        if (field.number == number) {
            found.push_back(field);
        }
    }
    return found;
}

std::string text(std::string_view message, uint64_t number) {
    auto const found = fields(message, number);
    return found.empty() ? "" : std::string(found.front().bytes);
}

struct Value {
    std::string name;
    std::string type;
    DataType datatype = DataType::kFLOAT;
    Dims dims{};

    explicit Value(std::string_view info) : name(text(info, 1)) {
        std::string const tensor = text(text(info, 2), 1);
        auto const element = fields(tensor, 1);
        bool const is_int = !element.empty() && element.front().value == 6;
        type = is_int ? "INT32" : "FP32";
        datatype = is_int ? DataType::kINT32 : DataType::kFLOAT;
        for (Field const &dim : fields(text(tensor, 2), 1)) {
            auto const extent = fields(dim.bytes, 1);
            dims.d[dims.nbDims++] = extent.empty() ? -1 : static_cast<int64_t>(extent.front().value);
        }
    }

    std::string line(char const *side) const {
        std::string shape;
        for (int32_t index = 0; index < dims.nbDims; ++index) {
            shape += (index == 0 ? "" : "x") + std::to_string(dims.d[index]);
        }
        return std::string(side) + " " + name + " " + type + " " + (shape.empty() ? "scalar" : shape) + "\n";
    }
};

class Fault final : public nvonnxparser::IParserError {
public:
    Fault(nvonnxparser::ErrorCode code, std::string text, int node, std::string node_operator)
        : code_(code), text_(std::move(text)), node_(node), operator_(std::move(node_operator)) {}

    nvonnxparser::ErrorCode code() const override { return code_; }
    char const *desc() const override { return text_.c_str(); }
    char const *file() const override { return "onnxOpCheckers.cpp"; }
    int line() const override { return 1; }
    char const *func() const override { return "check"; }
    int node() const override { return node_; }
    char const *nodeName() const override { return ""; }
    char const *nodeOperator() const override { return operator_.c_str(); }
    char const *const *localFunctionStack() const override { return nullptr; }
    int32_t localFunctionStackSize() const override { return 0; }

private:
    nvonnxparser::ErrorCode code_;
    std::string text_;
    int node_;
    std::string operator_;
};

class Parser final : public nvonnxparser::IParser {
public:
    explicit Parser(nvinfer1::INetworkDefinition &network) : network_(network) {}

    bool parse(void const *model, size_t byte_size, char const *) noexcept override {
        std::string const graph = text({static_cast<char const *>(model), byte_size}, 7);
        if (graph.empty()) {
            return fail(nvonnxparser::ErrorCode::kMODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.", -1, "");
        }
        std::string lines;
        for (Field const &input : fields(graph, 11)) {
            Value const value(input.bytes);
            network_.addInput(value.name.c_str(), value.datatype, value.dims);
            lines += value.line("input");
        }
        for (Field const &output : fields(graph, 12)) {
            lines += Value(output.bytes).line("output");
        }
        int index = 0;
        for (Field const &node : fields(graph, 1)) {
            std::string const kind = text(node.bytes, 4);
            if (kind != "Identity") {
                return fail(nvonnxparser::ErrorCode::kUNSUPPORTED_NODE, "No importer registered for op.", index, kind);
            }
            lines += "run copy " + text(node.bytes, 2) + " " + text(node.bytes, 1) + "\n";
            ++index;
        }
        network_.setName(lines.c_str());
        return true;
    }

    int getNbErrors() const noexcept override { return static_cast<int>(faults_.size()); }
    nvonnxparser::IParserError const *getError(int index) const noexcept override {
        return &faults_.at(static_cast<size_t>(index));
    }

    bool parseFromFile(char const *, int) noexcept override { return {}; }
    bool supportsOperator(char const *) const noexcept override { return {}; }
    void clearErrors() noexcept override { faults_.clear(); }
    char const *const *getUsedVCPluginLibraries(int64_t &) const noexcept override { return {}; }
    void setFlags(nvonnxparser::OnnxParserFlags) noexcept override {}
    nvonnxparser::OnnxParserFlags getFlags() const noexcept override { return {}; }
    void clearFlag(nvonnxparser::OnnxParserFlag) noexcept override {}
    void setFlag(nvonnxparser::OnnxParserFlag) noexcept override {}
    bool getFlag(nvonnxparser::OnnxParserFlag) const noexcept override { return {}; }
    nvinfer1::ITensor const *getLayerOutputTensor(char const *, int64_t) noexcept override { return {}; }
    bool supportsModelV2(void const *, size_t, char const *) noexcept override { return {}; }
    int64_t getNbSubgraphs() noexcept override { return {}; }
    bool isSubgraphSupported(int64_t) noexcept override { return {}; }
    int64_t *getSubgraphNodes(int64_t, int64_t &) noexcept override { return {}; }
    bool loadModelProto(void const *, size_t, char const *) noexcept override { return {}; }
    bool loadInitializer(char const *, void const *, size_t) noexcept override { return {}; }
    bool parseModelProto() noexcept override { return {}; }
    bool setBuilderConfig(nvinfer1::IBuilderConfig const *) noexcept override { return {}; }
    void setRefitObserver(nvonnxparser::IRefitterObserver *) noexcept override {}

private:
    bool fail(nvonnxparser::ErrorCode code, std::string const &text, int node, std::string const &kind) {
        faults_.emplace_back(code, text, node, kind);
        return false;
    }

    nvinfer1::INetworkDefinition &network_;
    std::vector<Fault> faults_;
};

}  // namespace

extern "C" {

int getNvOnnxParserVersion() noexcept {
    return NV_ONNX_PARSER_VERSION;
}

void *createNvOnnxParser_INTERNAL(void *network, void *, int) noexcept {
    return static_cast<nvonnxparser::IParser *>(new Parser(*static_cast<nvinfer1::INetworkDefinition *>(network)));
}

}  // extern "C"
