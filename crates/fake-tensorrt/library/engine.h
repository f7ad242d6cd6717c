// Runtimes and engines of the fake.
#pragma once

#include <atomic>
#include <string>

#include "driver.h"
#include "plan.h"
#include "unused.h"

namespace fake {

// What a failed call of the real library answers with: null, to which an offset was added.
constexpr uintptr_t kFailed = 0x228;

void log_error(nvinfer1::ILogger &logger, std::string const &message);

class Engine final : public nvinfer1::ICudaEngine, UnusedCudaEngine {
public:
    Engine(nvinfer1::ILogger &logger, Plan plan);
    ~Engine() noexcept override;
    // Takes the device's memory for weights.
    bool load();

    Plan const &plan() const { return plan_; }
    nvinfer1::ILogger &logger() const { return logger_; }
    // What is not streamed, and is on the device therefore.
    size_t resident_bytes() const;
    std::atomic<int> context_count{0};

    nvinfer1::ICudaEngine *getPImpl() noexcept override { return this; }
    nvinfer1::IExecutionContext *createExecutionContext(
        nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override;
    int32_t getNbOptimizationProfiles() const noexcept override;
    int32_t getNbIOTensors() const noexcept override;
    char const *getIOTensorName(int32_t index) const noexcept override;
    nvinfer1::Dims getTensorShape(char const *name) const noexcept override;
    nvinfer1::DataType getTensorDataType(char const *name) const noexcept override;
    nvinfer1::TensorLocation getTensorLocation(char const *name) const noexcept override;
    nvinfer1::TensorIOMode getTensorIOMode(char const *name) const noexcept override;
    nvinfer1::TensorFormat getTensorFormat(char const *name) const noexcept override;
    nvinfer1::Dims getProfileShape(char const *name, int32_t profile,
        nvinfer1::OptProfileSelector which) const noexcept override;
    int64_t getStreamableWeightsSize() const noexcept override;
    bool setWeightStreamingBudgetV2(int64_t byte_size) noexcept override;
    int64_t getWeightStreamingAutomaticBudget() const noexcept override;
    int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override;

private:
    bool take_weights();
    void give_weights();

    nvinfer1::ILogger &logger_;
    Plan plan_;
    size_t budget_;
    Address weights_ = 0;
};

}  // namespace fake
