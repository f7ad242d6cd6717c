// Contexts of the fake: shapes, addresses, and the operations of a plan, given to a stream.
#pragma once

#include <map>
#include <string>

#include "engine.h"

namespace fake {

class Context final : public nvinfer1::IExecutionContext, UnusedExecutionContext {
public:
    explicit Context(Engine &engine);
    ~Context() noexcept override;

    nvinfer1::IExecutionContext *getPImpl() noexcept override { return this; }
    nvinfer1::ICudaEngine const &getEngine() const noexcept override { return engine_; }
    void setDeviceMemoryV2(void *memory, int64_t byte_size) noexcept override;
    bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept override;
    bool setInputShape(char const *name, nvinfer1::Dims const &dims) noexcept override;
    nvinfer1::Dims getTensorShape(char const *name) const noexcept override;
    bool setTensorAddress(char const *name, void *address) noexcept override;
    int32_t inferShapes(int32_t name_count, char const **names) noexcept override;
    bool setOutputAllocator(char const *name, nvinfer1::IOutputAllocator *allocator) noexcept override;
    int64_t getMaxOutputSize(char const *name) const noexcept override;
    bool enqueueV3(cudaStream_t stream) noexcept override;

private:
    bool fail(std::string const &message) const;
    bool is_within(Tensor const &tensor, nvinfer1::Dims const &dims) const;
    nvinfer1::Dims input_shape(Tensor const &tensor) const;
    nvinfer1::Dims output_shape(Operation const &operation) const;
    bool has_workspace() const;
    bool run(Operation const &operation, cudaStream_t stream);
    bool run_nonzero(Operation const &operation, cudaStream_t stream);
    Address address(std::string const &name) const;

    Engine &engine_;
    Plan const &plan_;
    int32_t profile_ = 0;
    int enqueued_ = 0;
    Address workspace_ = 0;
    int64_t workspace_bytes_ = 0;
    std::map<std::string, nvinfer1::Dims> shapes_;
    std::map<std::string, void *> addresses_;
    std::map<std::string, nvinfer1::IOutputAllocator *> allocators_;
};

}  // namespace fake
