// The fake's plans: the header of a real one, and then lines of text. See the crate's documentation.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "NvInferRuntime.h"

namespace fake {

struct Tensor {
    std::string name;
    nvinfer1::DataType type;
    nvinfer1::Dims shape;
    bool is_input;
    bool is_on_host;
    bool is_linear;
};

// An input's smallest, best and largest shape.
using Range = std::array<nvinfer1::Dims, 3>;

struct Operation {
    std::string kind;
    std::string output;
    // An input's name or a number, as the kind wants it.
    std::string argument;
};

struct Plan {
    std::string capability;
    std::vector<Tensor> tensors;
    std::vector<std::map<std::string, Range>> profiles;
    std::vector<Operation> operations;
    size_t weight_bytes = 0;
    size_t streamable_bytes = 0;
    size_t workspace_bytes = 0;
    // Whether it needs permission to bring host code along.
    bool has_host_code = false;
    // The name of a file of plugins that it needs.
    std::string plugins;
    // Which execution of each context fails, from 1; 0: none.
    int fails_at = 0;
    // Whether no context can be made.
    bool has_no_context = false;

    Tensor const *find(char const *name) const;
};

size_t element_size(nvinfer1::DataType type);

// Reads a plan; false, with a reason, if it is none.
bool parse(void const *data, size_t byte_size, Plan &plan, std::string &fault);

}  // namespace fake
