// What the server never calls, answered with nothing. The real interfaces have no default for these.
#pragma once

#include "NvInferRuntime.h"

namespace fake {

class UnusedRuntime : public nvinfer1::apiv::VRuntime {
public:
    void setDLACore(int32_t) noexcept override {}
    int32_t getDLACore() const noexcept override { return {}; }
    int32_t getNbDLACores() const noexcept override { return {}; }
    void setGpuAllocator(nvinfer1::IGpuAllocator*) noexcept override {}
    void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept override {}
    nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return {}; }
    nvinfer1::ILogger* getLogger() const noexcept override { return {}; }
    bool setMaxThreads(int32_t) noexcept override { return {}; }
    int32_t getMaxThreads() const noexcept override { return {}; }
    void setTemporaryDirectory(char const*) noexcept override {}
    char const* getTemporaryDirectory() const noexcept override { return {}; }
    void setTempfileControlFlags(nvinfer1::TempfileControlFlags) noexcept override {}
    nvinfer1::TempfileControlFlags getTempfileControlFlags() const noexcept override { return {}; }
    void setPluginRegistryParent(nvinfer1::IPluginRegistry*) noexcept override {}
    nvinfer1::IRuntime* loadRuntime(char const*) noexcept override { return {}; }
    nvinfer1::ICudaEngine* deserializeCudaEngineV2(
        nvinfer1::IStreamReaderV2&) noexcept override { return {}; }
    bool setDLAWorkspaceAllocationStrategy(
        nvinfer1::DLAWorkspaceAllocationStrategy) noexcept override { return {}; }
    nvinfer1::DLAWorkspaceAllocationStrategy getDLAWorkspaceAllocationStrategy(
        ) const noexcept override { return {}; }
};

class UnusedCudaEngine : public nvinfer1::apiv::VCudaEngine {
public:
    int32_t getNbLayers() const noexcept override { return {}; }
    nvinfer1::IHostMemory* serialize() const noexcept override { return {}; }
    bool isRefittable() const noexcept override { return {}; }
    char const* getName() const noexcept override { return {}; }
    nvinfer1::EngineCapability getEngineCapability() const noexcept override { return {}; }
    void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept override {}
    nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return {}; }
    nvinfer1::TacticSources getTacticSources() const noexcept override { return {}; }
    nvinfer1::ProfilingVerbosity getProfilingVerbosity() const noexcept override { return {}; }
    nvinfer1::IEngineInspector* createEngineInspector() const noexcept override { return {}; }
    bool isShapeInferenceIO(char const*) const noexcept override { return {}; }
    int32_t getTensorBytesPerComponent(char const*) const noexcept override { return {}; }
    int32_t getTensorComponentsPerElement(char const*) const noexcept override { return {}; }
    char const* getTensorFormatDesc(char const*) const noexcept override { return {}; }
    int32_t getTensorVectorizedDim(char const*) const noexcept override { return {}; }
    nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel(
        ) const noexcept override { return {}; }
    int32_t getNbAuxStreams() const noexcept override { return {}; }
    int32_t getTensorBytesPerComponentV2(char const*, int32_t) const noexcept override { return {}; }
    int32_t getTensorComponentsPerElementV2(char const*, int32_t) const noexcept override { return {}; }
    nvinfer1::TensorFormat getTensorFormatV2(char const*, int32_t) const noexcept override { return {}; }
    char const* getTensorFormatDescV2(char const*, int32_t) const noexcept override { return {}; }
    int32_t getTensorVectorizedDimV2(char const*, int32_t) const noexcept override { return {}; }
    nvinfer1::ISerializationConfig* createSerializationConfig() noexcept override { return {}; }
    nvinfer1::IHostMemory* serializeWithConfig(
        nvinfer1::ISerializationConfig&) const noexcept override { return {}; }
    nvinfer1::IRefitter* createRefitter(nvinfer1::ILogger&) noexcept override { return {}; }
    bool isDebugTensor(char const*) const noexcept override { return {}; }
    int64_t getWeightStreamingBudgetV2() const noexcept override { return {}; }
    int64_t getWeightStreamingScratchMemorySize() const noexcept override { return {}; }
    int64_t getDeviceMemorySizeV2() const noexcept override { return {}; }
    int64_t const* getProfileTensorValuesV2(
        char const*, int32_t, nvinfer1::OptProfileSelector) const noexcept override { return {}; }
    nvinfer1::IExecutionContext* createExecutionContextWithRuntimeConfig(
        nvinfer1::IRuntimeConfig*) noexcept override { return {}; }
    nvinfer1::IRuntimeConfig* createRuntimeConfig() noexcept override { return {}; }
    int64_t getEngineStat(nvinfer1::EngineStat) const noexcept override { return {}; }
    char const* getAliasedInputTensor(char const*) const noexcept override { return {}; }
};

class UnusedExecutionContext : public nvinfer1::apiv::VExecutionContext {
public:
    void setDebugSync(bool) noexcept override {}
    bool getDebugSync() const noexcept override { return {}; }
    void setProfiler(nvinfer1::IProfiler*) noexcept override {}
    nvinfer1::IProfiler* getProfiler() const noexcept override { return {}; }
    void setName(char const*) noexcept override {}
    char const* getName() const noexcept override { return {}; }
    void setDeviceMemory(void*) noexcept override {}
    int32_t getOptimizationProfile() const noexcept override { return {}; }
    bool allInputDimensionsSpecified() const noexcept override { return {}; }
    void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept override {}
    nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return {}; }
    bool executeV2(void* const*) noexcept override { return {}; }
    void setEnqueueEmitsProfile(bool) noexcept override {}
    bool getEnqueueEmitsProfile() const noexcept override { return {}; }
    bool reportToProfiler() const noexcept override { return {}; }
    nvinfer1::Dims getTensorStrides(char const*) const noexcept override { return {}; }
    void const* getTensorAddress(char const*) const noexcept override { return {}; }
    bool setInputTensorAddress(char const*, void const*) noexcept override { return {}; }
    bool setOutputTensorAddress(char const*, void*) noexcept override { return {}; }
    bool setInputConsumedEvent(cudaEvent_t) noexcept override { return {}; }
    cudaEvent_t getInputConsumedEvent() const noexcept override { return {}; }
    void* getOutputTensorAddress(char const*) const noexcept override { return {}; }
    nvinfer1::IOutputAllocator* getOutputAllocator(char const*) noexcept override { return {}; }
    bool setTemporaryStorageAllocator(nvinfer1::IGpuAllocator*) noexcept override { return {}; }
    nvinfer1::IGpuAllocator* getTemporaryStorageAllocator() const noexcept override { return {}; }
    void setPersistentCacheLimit(size_t) noexcept override {}
    size_t getPersistentCacheLimit() const noexcept override { return {}; }
    bool setNvtxVerbosity(nvinfer1::ProfilingVerbosity) noexcept override { return {}; }
    nvinfer1::ProfilingVerbosity getNvtxVerbosity() const noexcept override { return {}; }
    void setAuxStreams(cudaStream_t*, int32_t) noexcept override {}
    bool setDebugListener(nvinfer1::IDebugListener*) noexcept override { return {}; }
    nvinfer1::IDebugListener* getDebugListener() noexcept override { return {}; }
    bool setTensorDebugState(char const*, bool) noexcept override { return {}; }
    bool getDebugState(char const*) const noexcept override { return {}; }
    bool setAllTensorsDebugState(bool) noexcept override { return {}; }
    size_t updateDeviceMemorySizeForShapes() noexcept override { return {}; }
    nvinfer1::IRuntimeConfig* getRuntimeConfig() const noexcept override { return {}; }
    bool setUnfusedTensorsDebugState(bool) noexcept override { return {}; }
    bool getUnfusedTensorsDebugState() const noexcept override { return {}; }
    bool setCommunicator(void*) noexcept override { return {}; }
};

}  // namespace fake
