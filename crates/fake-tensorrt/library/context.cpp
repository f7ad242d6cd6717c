#include "context.h"

#include <cstring>

using namespace nvinfer1;

namespace fake {
namespace {

constexpr Address kAlignment = 256;

bool is_known(Dims const &dims) {
    for (int32_t index = 0; index < dims.nbDims; ++index) {
        if (dims.d[index] < 0) {
            return false;
        }
    }
    return dims.nbDims >= 0;
}

size_t byte_size(Dims const &dims, DataType type) {
    size_t size = element_size(type);
    for (int32_t index = 0; index < dims.nbDims; ++index) {
        size *= static_cast<size_t>(dims.d[index]);
    }
    return size;
}

int64_t element(void const *values, DataType type, int64_t index) {
    if (type == DataType::kINT64) {
        return static_cast<int64_t const *>(values)[index];
    }
    return static_cast<int32_t const *>(values)[index];
}

}  // namespace

Context::Context(Engine &engine) : engine_(engine), plan_(engine.plan()) {
    mImpl = this;
    ++engine_.context_count;
}

Context::~Context() noexcept {
    --engine_.context_count;
}

bool Context::fail(std::string const &message) const {
    log_error(engine_.logger(), message);
    return false;
}

void Context::setDeviceMemoryV2(void *memory, int64_t byte_size) noexcept {
    workspace_ = reinterpret_cast<Address>(memory);
    workspace_bytes_ = byte_size;
}

bool Context::setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept {
    if (profile < 0 || profile >= engine_.getNbOptimizationProfiles() || stream == nullptr) {
        return fail("no such optimization profile");
    }
    profile_ = profile;
    shapes_.clear();
    return true;
}

bool Context::is_within(Tensor const &tensor, Dims const &dims) const {
    if (dims.nbDims != tensor.shape.nbDims) {
        return false;
    }
    Dims const least = engine_.getProfileShape(tensor.name.c_str(), profile_, OptProfileSelector::kMIN);
    Dims const most = engine_.getProfileShape(tensor.name.c_str(), profile_, OptProfileSelector::kMAX);
    for (int32_t index = 0; index < dims.nbDims; ++index) {
        if (dims.d[index] < least.d[index] || dims.d[index] > most.d[index]) {
            return false;
        }
    }
    return true;
}

bool Context::setInputShape(char const *name, Dims const &dims) noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr || !tensor->is_input || !is_within(*tensor, dims)) {
        return fail("IExecutionContext::setInputShape: Error Code 3: API Usage Error");
    }
    shapes_[tensor->name] = dims;
    return true;
}

Dims Context::input_shape(Tensor const &tensor) const {
    auto const set = shapes_.find(tensor.name);
    return set == shapes_.end() ? tensor.shape : set->second;
}

// `copy`, and `zero` of an input: that of the input; `resize`: as its input's values say; otherwise the output's own, with the
// first input's rows.
Dims Context::output_shape(Operation const &operation) const {
    Dims shape = plan_.find(operation.output.c_str())->shape;
    Tensor const *source = plan_.find(operation.argument.c_str());
    if ((operation.kind == "copy" || operation.kind == "zero") && source != nullptr) {
        return input_shape(*source);
    }
    if (operation.kind == "resize" && source != nullptr) {
        auto const values = addresses_.find(source->name);
        for (int32_t index = 0; values != addresses_.end() && index < shape.nbDims; ++index) {
            shape.d[index] = element(values->second, source->type, index);
        }
        return shape;
    }
    if (operation.kind != "nonzero" && shape.nbDims > 0 && shape.d[0] < 0) {
        shape.d[0] = input_shape(plan_.tensors.front()).d[0];
    }
    return shape;
}

Dims Context::getTensorShape(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr) {
        return Dims{-1, {}};
    }
    if (tensor->is_input) {
        return input_shape(*tensor);
    }
    for (Operation const &operation : plan_.operations) {
        if (operation.output == tensor->name) {
            return output_shape(operation);
        }
    }
    return tensor->shape;
}

bool Context::setTensorAddress(char const *name, void *address) noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr) {
        return fail("no such tensor");
    }
    if (!tensor->is_on_host && reinterpret_cast<Address>(address) % kAlignment != 0) {
        return fail("the address of " + tensor->name + " is not aligned");
    }
    addresses_[tensor->name] = address;
    return true;
}

Address Context::address(std::string const &name) const {
    auto const set = addresses_.find(name);
    return set == addresses_.end() ? 0 : reinterpret_cast<Address>(set->second);
}

int32_t Context::inferShapes(int32_t, char const **) noexcept {
    int32_t lacking = 0;
    for (Tensor const &tensor : plan_.tensors) {
        bool const has_value = !tensor.is_on_host || address(tensor.name) != 0;
        lacking += tensor.is_input && !(is_known(input_shape(tensor)) && has_value);
    }
    for (Operation const &operation : plan_.operations) {
        if (lacking == 0 && operation.kind == "resize" && !is_known(output_shape(operation))) {
            fail("output " + operation.output + " has a negative dimension");
            return -1;
        }
    }
    return lacking;
}

bool Context::setOutputAllocator(char const *name, IOutputAllocator *allocator) noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr || tensor->is_input) {
        return fail("no such output");
    }
    allocators_[tensor->name] = allocator;
    return true;
}

int64_t Context::getMaxOutputSize(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    Dims const shape = getTensorShape(name);
    return tensor != nullptr && is_known(shape) ? static_cast<int64_t>(byte_size(shape, tensor->type)) : -1;
}

bool Context::has_workspace() const {
    int64_t const needed = engine_.getDeviceMemorySizeForProfileV2(profile_);
    return workspace_bytes_ >= needed && (needed == 0 || workspace_ != 0) && workspace_ % kAlignment == 0;
}

bool Context::enqueueV3(cudaStream_t stream) noexcept {
    if (++enqueued_ == plan_.fails_at) {
        return fail("Error Code 1: Cask (Cask convolution execution)");
    }
    if (inferShapes(0, nullptr) != 0) {
        return fail("not all inputs have a shape");
    }
    if (!has_workspace()) {
        return fail("the device memory of the context is too small");
    }
    for (Operation const &operation : plan_.operations) {
        if (!run(operation, stream)) {
            return false;
        }
    }
    // What lies in the workspace is used as long as the stream has not passed.
    return workspace_bytes_ == 0
        || driver()->fill(workspace_, 1, static_cast<size_t>(workspace_bytes_), stream) == 0;
}

bool Context::run(Operation const &operation, cudaStream_t stream) {
    if (operation.kind == "nonzero") {
        return run_nonzero(operation, stream);
    }
    Tensor const &output = *plan_.find(operation.output.c_str());
    size_t const size = byte_size(output_shape(operation), output.type);
    Address const to = address(output.name);
    if (to == 0) {
        return fail("output " + output.name + " has no address");
    }
    if (operation.kind == "copy") {
        return driver()->copy(to, address(operation.argument), size, stream) == 0;
    }
    if (operation.kind == "profile") {
        return driver()->fill(to, static_cast<unsigned char>(profile_), size, stream) == 0;
    }
    return driver()->fill(to, static_cast<unsigned char>(output.name.size()), size, stream) == 0;
}

// The elements of an input of one-byte elements that are not zero. How many there are is known after
// they were read, as with the real library, which waits for that as well.
bool Context::run_nonzero(Operation const &operation, cudaStream_t stream) {
    Tensor const &input = *plan_.find(operation.argument.c_str());
    int capturing = 0;
    if (driver()->is_capturing(stream, &capturing) != 0 || capturing != 0) {
        return fail("a size that depends on data cannot be captured");
    }
    std::string values(byte_size(input_shape(input), input.type), '\0');
    if (driver()->download(values.data(), address(input.name), values.size(), stream) != 0) {
        return fail("the input cannot be read");
    }
    std::string found;
    for (char value : values) {
        if (value != 0) {
            found.push_back(value);
        }
    }
    auto const allocator = allocators_.find(operation.output);
    if (allocator == allocators_.end() || allocator->second == nullptr) {
        return fail("output " + operation.output + " has no allocator");
    }
    size_t const size = std::max<size_t>(found.size(), 1);
    void *to = allocator->second->reallocateOutputAsync(operation.output.c_str(), nullptr, size, kAlignment, stream);
    if (to == nullptr) {
        return fail("no memory for output " + operation.output);
    }
    allocator->second->notifyShape(operation.output.c_str(), Dims{1, {static_cast<int64_t>(found.size())}});
    return driver()->upload(reinterpret_cast<Address>(to), found.data(), found.size(), stream) == 0;
}

}  // namespace fake
