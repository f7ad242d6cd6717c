// Contexts, and the allocator of outputs whose size is not known beforehand.
#include <new>

#include "objects.h"

using nvinfer1::Dims;
using nvinfer1::ExecutionContextAllocationStrategy;
using nvinfer1::IExecutionContext;

// Asks Rust for memory, and tells it the shape.
struct trt_allocator final : nvinfer1::IOutputAllocator {
    trt_allocator(trt_allocate_fn allocate, trt_shape_fn shape, void *user)
        : allocate_(allocate), shape_(shape), user_(user) {}

    void *reallocateOutputAsync(char const *tensor, void * /* current */, uint64_t byte_size,
                                uint64_t alignment, cudaStream_t /* stream */) override {
        return tensor == nullptr ? nullptr : allocate_(user_, tensor, byte_size, alignment);
    }

    void notifyShape(char const *tensor, Dims const &dims) noexcept override {
        trt_dims const shape = shim::to_c(dims);
        if (tensor != nullptr) {
            shape_(user_, tensor, &shape);
        }
    }

private:
    trt_allocate_fn allocate_;
    trt_shape_fn shape_;
    void *user_;
};

extern "C" {

trt_context *trt_context_new(trt_engine *engine) {
    if (engine == nullptr) {
        return nullptr;
    }
    auto const strategy = ExecutionContextAllocationStrategy::kUSER_MANAGED;
    IExecutionContext *object = shim::checked(engine->object->createExecutionContext(strategy));
    if (object == nullptr) {
        return nullptr;
    }
    std::unique_ptr<IExecutionContext> owned(object);
    return new (std::nothrow) trt_context{std::move(owned)};
}

void trt_context_free(trt_context *context) {
    delete context;
}

bool trt_context_set_workspace(trt_context *context, void *memory, int64_t byte_size) {
    if (context == nullptr || byte_size < 0 || (memory == nullptr && byte_size > 0)) {
        return false;
    }
    context->object->setDeviceMemoryV2(memory, byte_size);
    return true;
}

bool trt_context_set_profile(trt_context *context, int32_t profile, void *stream) {
    auto const cuda_stream = static_cast<cudaStream_t>(stream);
    return context != nullptr && context->object->setOptimizationProfileAsync(profile, cuda_stream);
}

bool trt_context_set_shape(trt_context *context, char const *tensor, trt_dims const *shape) {
    Dims dims{};
    if (context == nullptr || tensor == nullptr || !shim::to_cpp(shape, dims)) {
        return false;
    }
    return context->object->setInputShape(tensor, dims);
}

bool trt_context_set_address(trt_context *context, char const *tensor, void *address) {
    return context != nullptr && tensor != nullptr
        && context->object->setTensorAddress(tensor, address);
}

bool trt_context_set_allocator(trt_context *context, char const *tensor,
                               trt_allocator *allocator) {
    return context != nullptr && tensor != nullptr
        && context->object->setOutputAllocator(tensor, allocator);
}

int32_t trt_context_infer_shapes(trt_context *context) {
    return context == nullptr ? -1 : context->object->inferShapes(0, nullptr);
}

bool trt_context_shape(trt_context const *context, char const *tensor, trt_dims *shape) {
    if (context == nullptr || tensor == nullptr || shape == nullptr) {
        return false;
    }
    *shape = shim::to_c(context->object->getTensorShape(tensor));
    return shape->count >= 0;
}

int64_t trt_context_max_output_size(trt_context const *context, char const *tensor) {
    if (context == nullptr || tensor == nullptr) {
        return -1;
    }
    return context->object->getMaxOutputSize(tensor);
}

bool trt_context_enqueue(trt_context *context, void *stream) {
    return context != nullptr && context->object->enqueueV3(static_cast<cudaStream_t>(stream));
}

trt_allocator *trt_allocator_new(trt_allocate_fn allocate, trt_shape_fn shape, void *user) {
    if (allocate == nullptr || shape == nullptr) {
        return nullptr;
    }
    return new (std::nothrow) trt_allocator(allocate, shape, user);
}

void trt_allocator_free(trt_allocator *allocator) {
    delete allocator;
}

}  // extern "C"
