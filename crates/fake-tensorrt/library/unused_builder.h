// What builders have and the server never calls, answered with nothing. The real interfaces have no
// default for these.
#pragma once

#include "NvInfer.h"

// Some of it is on its way out of TensorRT.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace fake {

using namespace nvinfer1;

class UnusedNetworkDefinition : public apiv::VNetworkDefinition {
public:
    void markOutput(ITensor&) noexcept override {}
    IActivationLayer* addActivation(ITensor&, ActivationType) noexcept override { return {}; }
    ILRNLayer* addLRN(ITensor&, int64_t, float, float, float) noexcept override { return {}; }
    IScaleLayer* addScale(ITensor&, ScaleMode, Weights, Weights, Weights) noexcept override { return {}; }
    ISoftMaxLayer* addSoftMax(ITensor&) noexcept override { return {}; }
    IConcatenationLayer* addConcatenation(ITensor* const*, int32_t) noexcept override { return {}; }
    IElementWiseLayer* addElementWise(
        ITensor&, ITensor&, ElementWiseOperation) noexcept override { return {}; }
    IUnaryLayer* addUnary(ITensor&, UnaryOperation) noexcept override { return {}; }
    IShuffleLayer* addShuffle(ITensor&) noexcept override { return {}; }
    int32_t getNbLayers() const noexcept override { return {}; }
    ILayer* getLayer(int32_t) const noexcept override { return {}; }
    int32_t getNbOutputs() const noexcept override { return {}; }
    ITensor* getOutput(int32_t) const noexcept override { return {}; }
    IReduceLayer* addReduce(ITensor&, ReduceOperation, uint32_t, bool) noexcept override { return {}; }
    ITopKLayer* addTopK(ITensor&, TopKOperation, int32_t, uint32_t) noexcept override { return {}; }
    IGatherLayer* addGather(ITensor&, ITensor&, int32_t) noexcept override { return {}; }
    IRaggedSoftMaxLayer* addRaggedSoftMax(ITensor&, ITensor&) noexcept override { return {}; }
    IMatrixMultiplyLayer* addMatrixMultiply(
        ITensor&, MatrixOperation, ITensor&, MatrixOperation) noexcept override { return {}; }
    IConstantLayer* addConstant(Dims const&, Weights) noexcept override { return {}; }
    IIdentityLayer* addIdentity(ITensor&) noexcept override { return {}; }
    void removeTensor(ITensor&) noexcept override {}
    void unmarkOutput(ITensor&) noexcept override {}
    IPluginV2Layer* addPluginV2(ITensor* const*, int32_t, IPluginV2&) noexcept override { return {}; }
    IPluginV3Layer* addPluginV3(
        ITensor* const*, int32_t, ITensor* const*, int32_t, IPluginV3&) noexcept override { return {}; }
    ISliceLayer* addSlice(ITensor&, Dims const&, Dims const&, Dims const&) noexcept override { return {}; }
    IShapeLayer* addShape(ITensor&) noexcept override { return {}; }
    bool hasImplicitBatchDimension() const noexcept override { return {}; }
    bool markOutputForShapes(ITensor&) noexcept override { return {}; }
    bool unmarkOutputForShapes(ITensor&) noexcept override { return {}; }
    IParametricReLULayer* addParametricReLU(ITensor&, ITensor&) noexcept override { return {}; }
    IConvolutionLayer* addConvolutionNd(
        ITensor&, int64_t, Dims const&, Weights, Weights) noexcept override { return {}; }
    IPoolingLayer* addPoolingNd(ITensor&, PoolingType, Dims const&) noexcept override { return {}; }
    IDeconvolutionLayer* addDeconvolutionNd(
        ITensor&, int64_t, Dims const&, Weights, Weights) noexcept override { return {}; }
    IScaleLayer* addScaleNd(
        ITensor&, ScaleMode, Weights, Weights, Weights, int32_t) noexcept override { return {}; }
    IResizeLayer* addResize(ITensor&) noexcept override { return {}; }
    ILoop* addLoop() noexcept override { return {}; }
    ISelectLayer* addSelect(ITensor&, ITensor&, ITensor&) noexcept override { return {}; }
    IPaddingLayer* addPaddingNd(ITensor&, Dims const&, Dims const&) noexcept override { return {}; }
    bool setWeightsName(Weights, char const*) noexcept override { return {}; }
    void setErrorRecorder(IErrorRecorder*) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return {}; }
    IGatherLayer* addGatherV2(ITensor&, ITensor&, GatherMode) noexcept override { return {}; }
    IIfConditional* addIfConditional() noexcept override { return {}; }
    IScatterLayer* addScatter(ITensor&, ITensor&, ITensor&, ScatterMode) noexcept override { return {}; }
    IEinsumLayer* addEinsum(ITensor* const*, int32_t, char const*) noexcept override { return {}; }
    IAssertionLayer* addAssertion(ITensor&, char const*) noexcept override { return {}; }
    IOneHotLayer* addOneHot(ITensor&, ITensor&, ITensor&, int32_t) noexcept override { return {}; }
    INonZeroLayer* addNonZero(ITensor&) noexcept override { return {}; }
    IGridSampleLayer* addGridSample(ITensor&, ITensor&) noexcept override { return {}; }
    INMSLayer* addNMS(ITensor&, ITensor&, ITensor&) noexcept override { return {}; }
    IReverseSequenceLayer* addReverseSequence(ITensor&, ITensor&) noexcept override { return {}; }
    INormalizationLayer* addNormalization(
        ITensor&, ITensor&, ITensor&, uint32_t) noexcept override { return {}; }
    ICastLayer* addCast(ITensor&, DataType) noexcept override { return {}; }
    NetworkDefinitionCreationFlags getFlags() const noexcept override { return {}; }
    bool getFlag(NetworkDefinitionCreationFlag) const noexcept override { return {}; }
    IQuantizeLayer* addQuantizeV2(ITensor&, ITensor&, DataType) noexcept override { return {}; }
    IDequantizeLayer* addDequantizeV2(ITensor&, ITensor&, DataType) noexcept override { return {}; }
    IFillLayer* addFillV2(Dims const&, FillOperation, DataType) noexcept override { return {}; }
    bool markDebug(ITensor&) noexcept override { return {}; }
    bool unmarkDebug(ITensor&) noexcept override { return {}; }
    bool isDebugTensor(ITensor const&) const noexcept override { return {}; }
    bool markWeightsRefittable(char const*) noexcept override { return {}; }
    bool unmarkWeightsRefittable(char const*) noexcept override { return {}; }
    bool areWeightsMarkedRefittable(char const*) const noexcept override { return {}; }
    ISqueezeLayer* addSqueeze(ITensor&, ITensor&) noexcept override { return {}; }
    IUnsqueezeLayer* addUnsqueeze(ITensor&, ITensor&) noexcept override { return {}; }
    IDynamicQuantizeLayer* addDynamicQuantize(
        ITensor&, int32_t, int32_t, DataType, DataType) noexcept override { return {}; }
    ICumulativeLayer* addCumulative(
        ITensor&, ITensor&, CumulativeOperation, bool, bool) noexcept override { return {}; }
    bool markUnfusedTensorsAsDebugTensors() noexcept override { return {}; }
    bool unmarkUnfusedTensorsAsDebugTensors() noexcept override { return {}; }
    ITopKLayer* addTopKV2(
        ITensor&, TopKOperation, int32_t, uint32_t, DataType) noexcept override { return {}; }
    INonZeroLayer* addNonZeroV2(ITensor&, DataType) noexcept override { return {}; }
    INMSLayer* addNMSV2(ITensor&, ITensor&, ITensor&, DataType) noexcept override { return {}; }
    IAttention* addAttention(
        ITensor&, ITensor&, ITensor&, AttentionNormalizationOp, bool) noexcept override { return {}; }
    IRotaryEmbeddingLayer* addRotaryEmbedding(
        ITensor&, ITensor&, ITensor&, bool, int32_t) noexcept override { return {}; }
    IDynamicQuantizeLayer* addDynamicQuantizeV2(
        ITensor&, Dims const&, DataType, DataType) noexcept override { return {}; }
    IKVCacheUpdateLayer* addKVCacheUpdate(
        ITensor&, ITensor&, ITensor&, KVCacheMode) noexcept override { return {}; }
    INormalizationLayer* addNormalizationV2(
        ITensor&, ITensor&, ITensor&, uint32_t) noexcept override { return {}; }
    IMoELayer* addMoE(ITensor&, ITensor&, ITensor&) noexcept override { return {}; }
    IDistCollectiveLayer* addDistCollective(
        ITensor&, CollectiveOperation, ReduceOperation, int64_t, int64_t*, int64_t) noexcept override { return {}; }
    IAttention* addAttentionV2(
        ITensor&, ITensor&, ITensor&, AttentionNormalizationOp, CausalMaskKind) noexcept override { return {}; }
    ISqueezeLayer* addSqueezeV2(ITensor&, ITensor*) noexcept override { return {}; }
};

class UnusedBuilder : public apiv::VBuilder {
public:
    int32_t getMaxDLABatchSize() const noexcept override { return {}; }
    int32_t getNbDLACores() const noexcept override { return {}; }
    void setGpuAllocator(IGpuAllocator*) noexcept override {}
    void setErrorRecorder(IErrorRecorder*) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return {}; }
    void reset() noexcept override {}
    bool isNetworkSupported(
        INetworkDefinition const&, IBuilderConfig const&) const noexcept override { return {}; }
    ILogger* getLogger() const noexcept override { return {}; }
    bool setMaxThreads(int32_t) noexcept override { return {}; }
    int32_t getMaxThreads() const noexcept override { return {}; }
    ICudaEngine* buildEngineWithConfig(INetworkDefinition&, IBuilderConfig&) noexcept override { return {}; }
    bool buildSerializedNetworkToStream(
        INetworkDefinition&, IBuilderConfig&, IStreamWriter&) noexcept override { return {}; }
    nvinfer1::IHostMemory* buildSerializedNetworkWithKernelText(
        INetworkDefinition&, IBuilderConfig&, IHostMemory*&) noexcept override { return {}; }
};

class UnusedBuilderConfig : public apiv::VBuilderConfig {
public:
    void setAvgTimingIterations(int32_t) noexcept override {}
    int32_t getAvgTimingIterations() const noexcept override { return {}; }
    void setEngineCapability(EngineCapability) noexcept override {}
    EngineCapability getEngineCapability() const noexcept override { return {}; }
    void setFlags(BuilderFlags) noexcept override {}
    BuilderFlags getFlags() const noexcept override { return {}; }
    void setDeviceType(ILayer const*, DeviceType) noexcept override {}
    DeviceType getDeviceType(ILayer const*) const noexcept override { return {}; }
    bool isDeviceTypeSet(ILayer const*) const noexcept override { return {}; }
    void resetDeviceType(ILayer const*) noexcept override {}
    bool canRunOnDLA(ILayer const*) const noexcept override { return {}; }
    void setDLACore(int32_t) noexcept override {}
    int32_t getDLACore() const noexcept override { return {}; }
    void setDefaultDeviceType(DeviceType) noexcept override {}
    DeviceType getDefaultDeviceType() const noexcept override { return {}; }
    void reset() noexcept override {}
    void setProfileStream(const cudaStream_t) noexcept override {}
    cudaStream_t getProfileStream() const noexcept override { return {}; }
    int32_t getNbOptimizationProfiles() const noexcept override { return {}; }
    void setProfilingVerbosity(ProfilingVerbosity) noexcept override {}
    ProfilingVerbosity getProfilingVerbosity() const noexcept override { return {}; }
    bool setTacticSources(TacticSources) noexcept override { return {}; }
    TacticSources getTacticSources() const noexcept override { return {}; }
    nvinfer1::ITimingCache const* getTimingCache() const noexcept override { return {}; }
    std::size_t getMemoryPoolLimit(MemoryPoolType) const noexcept override { return {}; }
    void setPreviewFeature(PreviewFeature, bool) noexcept override {}
    bool getPreviewFeature(PreviewFeature) const noexcept override { return {}; }
    void setBuilderOptimizationLevel(int32_t) noexcept override {}
    int32_t getBuilderOptimizationLevel() const noexcept override { return {}; }
    HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept override { return {}; }
    void setPluginsToSerialize(char const* const*, int32_t) noexcept override {}
    char const* getPluginToSerialize(int32_t) const noexcept override { return {}; }
    int32_t getNbPluginsToSerialize() const noexcept override { return {}; }
    bool setMaxAuxStreams(int32_t) noexcept override { return {}; }
    int32_t getMaxAuxStreams() const noexcept override { return {}; }
    void setProgressMonitor(IProgressMonitor*) noexcept override {}
    IProgressMonitor* getProgressMonitor() const noexcept override { return {}; }
    void setRuntimePlatform(RuntimePlatform) noexcept override {}
    RuntimePlatform getRuntimePlatform() const noexcept override { return {}; }
    void setMaxNbTactics(int32_t) noexcept override {}
    int32_t getMaxNbTactics() const noexcept override { return {}; }
    bool setTilingOptimizationLevel(TilingOptimizationLevel) noexcept override { return {}; }
    TilingOptimizationLevel getTilingOptimizationLevel() const noexcept override { return {}; }
    bool setL2LimitForTiling(int64_t) noexcept override { return {}; }
    int64_t getL2LimitForTiling() const noexcept override { return {}; }
    bool setRemoteAutoTuningConfig(char const*) noexcept override { return {}; }
    char const* getRemoteAutoTuningConfig() const noexcept override { return {}; }
    bool setBuildRoute(char const*) noexcept override { return {}; }
    char const* getBuildRoute() const noexcept override { return {}; }
    char const* getAllBuildRoutes() const noexcept override { return {}; }
};

class UnusedOptimizationProfile : public apiv::VOptimizationProfile {
public:
    int32_t getNbShapeValues(char const*) const noexcept override { return {}; }
    bool setExtraMemoryTarget(float) noexcept override { return {}; }
    float getExtraMemoryTarget() const noexcept override { return {}; }
    bool setShapeValuesV2(
        char const*, OptProfileSelector, int64_t const*, int32_t) noexcept override { return {}; }
    int64_t const* getShapeValuesV2(char const*, OptProfileSelector) const noexcept override { return {}; }
    void setProfileStream(cudaStream_t) noexcept override {}
    cudaStream_t getProfileStream() const noexcept override { return {}; }
};

class UnusedTensor : public apiv::VTensor {
public:
    void setName(char const*) noexcept override {}
    void setDimensions(Dims const&) noexcept override {}
    bool isNetworkInput() const noexcept override { return {}; }
    bool isNetworkOutput() const noexcept override { return {}; }
    void setBroadcastAcrossBatch(bool) noexcept override {}
    bool getBroadcastAcrossBatch() const noexcept override { return {}; }
    TensorLocation getLocation() const noexcept override { return {}; }
    void setLocation(TensorLocation) noexcept override {}
    void setAllowedFormats(TensorFormats) noexcept override {}
    TensorFormats getAllowedFormats() const noexcept override { return {}; }
    bool isExecutionTensor() const noexcept override { return {}; }
    void setDimensionName(int32_t, char const*) noexcept override {}
    char const* getDimensionName(int32_t) const noexcept override { return {}; }
};

class UnusedTimingCache : public apiv::VTimingCache {
public:
    bool combine(ITimingCache const&, bool) noexcept override { return {}; }
    bool reset() noexcept override { return {}; }
    int64_t queryKeys(TimingCacheKey*, int64_t) const noexcept override { return {}; }
    TimingCacheValue query(TimingCacheKey const&) const noexcept override { return {}; }
    bool update(TimingCacheKey const&, TimingCacheValue const&) noexcept override { return {}; }
};

}  // namespace fake
