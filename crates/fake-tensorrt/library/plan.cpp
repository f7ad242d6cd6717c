#include "plan.h"

#include <cstring>
#include <sstream>

using nvinfer1::DataType;
using nvinfer1::Dims;

namespace fake {
namespace {

constexpr size_t kHeaderSize = 28;
constexpr size_t kVersionOffset = 24;
constexpr uint32_t kTag = 0x74727466;  // ftrt

bool parse_type(std::string const &text, DataType &type) {
    static std::map<std::string, DataType> const kTypes{
        {"FP32", DataType::kFLOAT}, {"FP16", DataType::kHALF},  {"BF16", DataType::kBF16},
        {"INT8", DataType::kINT8},  {"INT32", DataType::kINT32}, {"INT64", DataType::kINT64},
        {"UINT8", DataType::kUINT8}, {"BOOL", DataType::kBOOL},  {"FP8", DataType::kFP8},
        {"INT4", DataType::kINT4},
    };
    auto const found = kTypes.find(text);
    if (found == kTypes.end()) {
        return false;
    }
    type = found->second;
    return true;
}

// Such as `-1x4`; `scalar` has no dimension.
bool parse_dims(std::string const &text, Dims &dims) {
    dims.nbDims = 0;
    if (text == "scalar") {
        return true;
    }
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, 'x');) {
        if (dims.nbDims == Dims::MAX_DIMS) {
            return false;
        }
        std::istringstream number(part);
        if (!(number >> dims.d[dims.nbDims++])) {
            return false;
        }
    }
    return dims.nbDims > 0;
}

// Such as `IN=1x4/4x4/8x4`.
bool parse_range(std::string const &text, std::map<std::string, Range> &profile) {
    auto const equals = text.find('=');
    if (equals == std::string::npos) {
        return false;
    }
    std::istringstream shapes(text.substr(equals + 1));
    Range range{};
    for (Dims &dims : range) {
        std::string shape;
        if (!std::getline(shapes, shape, '/') || !parse_dims(shape, dims)) {
            return false;
        }
    }
    profile[text.substr(0, equals)] = range;
    return true;
}

bool parse_tensor(std::istringstream &words, bool is_input, Plan &plan) {
    Tensor tensor{};
    std::string type;
    std::string shape;
    std::string mark;
    words >> tensor.name >> type >> shape >> mark;
    tensor.is_input = is_input;
    tensor.is_on_host = mark == "host";
    tensor.is_linear = mark != "vectorized";
    if (!parse_type(type, tensor.type) || !parse_dims(shape, tensor.shape)) {
        return false;
    }
    plan.tensors.push_back(tensor);
    return true;
}

bool parse_profile(std::istringstream &words, Plan &plan) {
    std::map<std::string, Range> profile;
    for (std::string word; words >> word;) {
        if (!parse_range(word, profile)) {
            return false;
        }
    }
    plan.profiles.push_back(profile);
    return true;
}

bool parse_line(std::string const &line, Plan &plan) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "input" || key == "output") {
        return parse_tensor(words, key == "input", plan);
    }
    if (key == "profile") {
        return parse_profile(words, plan);
    }
    if (key == "run") {
        Operation operation;
        words >> operation.kind >> operation.output >> operation.argument;
        plan.operations.push_back(operation);
        return true;
    }
    if (key == "hostcode") {
        return plan.has_host_code = true;
    }
    if (key == "nocontext") {
        return plan.has_no_context = true;
    }
    if (key == "capability") {
        words >> plan.capability;
    } else if (key == "weights") {
        words >> plan.weight_bytes;
    } else if (key == "streamable") {
        words >> plan.streamable_bytes;
    } else if (key == "workspace") {
        words >> plan.workspace_bytes;
    } else if (key == "plugins") {
        words >> plan.plugins;
    } else if (key == "fails") {
        words >> plan.fails_at;
    } else {
        return key.empty();
    }
    return !words.fail();
}

bool check_header(char const *bytes, size_t byte_size, std::string &fault) {
    uint32_t tag = 0;
    if (byte_size < kHeaderSize) {
        fault = "Serialization assertion stdArchiveReader failed. Plan too short";
        return false;
    }
    std::memcpy(&tag, bytes, sizeof tag);
    if (tag != kTag) {
        fault = "Serialization assertion magicTag failed. Magic tag does not match";
        return false;
    }
    if (bytes[kVersionOffset] != NV_TENSORRT_MAJOR) {
        fault = "Serialization assertion version failed. Version tag does not match";
        return false;
    }
    return true;
}

}  // namespace

Tensor const *Plan::find(char const *name) const {
    for (Tensor const &tensor : tensors) {
        if (name != nullptr && tensor.name == name) {
            return &tensor;
        }
    }
    return nullptr;
}

size_t element_size(DataType type) {
    switch (type) {
    case DataType::kINT64: return 8;
    case DataType::kFLOAT:
    case DataType::kINT32: return 4;
    case DataType::kHALF:
    case DataType::kBF16: return 2;
    default: return 1;
    }
}

bool parse(void const *data, size_t byte_size, Plan &plan, std::string &fault) {
    auto const *bytes = static_cast<char const *>(data);
    if (!check_header(bytes, byte_size, fault)) {
        return false;
    }
    std::istringstream text(std::string(bytes + kHeaderSize, byte_size - kHeaderSize));
    for (std::string line; std::getline(text, line);) {
        if (!parse_line(line, plan)) {
            fault = "Deserialization failed at: " + line;
            return false;
        }
    }
    if (plan.profiles.empty()) {
        plan.profiles.emplace_back();
    }
    return true;
}

}  // namespace fake
