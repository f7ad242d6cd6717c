// Runtimes and engines.
#include <new>

#include "objects.h"

using nvinfer1::ICudaEngine;
using nvinfer1::IRuntime;
using nvinfer1::OptProfileSelector;
using nvinfer1::TensorFormat;
using nvinfer1::TensorIOMode;
using nvinfer1::TensorLocation;

namespace shim {

trt_dims to_c(nvinfer1::Dims const &dims) {
    trt_dims shape{};
    bool const is_known = dims.nbDims >= 0 && dims.nbDims <= TRT_MAX_DIMS;
    shape.count = is_known ? dims.nbDims : -1;
    for (int32_t index = 0; index < shape.count; ++index) {
        shape.extents[index] = dims.d[index];
    }
    return shape;
}

bool to_cpp(trt_dims const *dims, nvinfer1::Dims &out) {
    if (dims == nullptr || dims->count < 0 || dims->count > TRT_MAX_DIMS) {
        return false;
    }
    out.nbDims = dims->count;
    for (int32_t index = 0; index < dims->count; ++index) {
        out.d[index] = dims->extents[index];
    }
    return true;
}

namespace {

using CreateRuntime = void *(*)(void *logger, int32_t version);

// The library's factory is reached by its address, so nothing declares that it does not throw.
IRuntime *create_runtime(CreateRuntime create, Logger &logger) noexcept {
    try {
        void *runtime = create(static_cast<nvinfer1::ILogger *>(&logger), NV_TENSORRT_VERSION);
        return checked(static_cast<IRuntime *>(runtime));
    } catch (...) {
        return nullptr;
    }
}

// An index that the engine has, and what it is.
bool describe(ICudaEngine const &engine, char const *name, trt_tensor &tensor) {
    TensorIOMode const mode = engine.getTensorIOMode(name);
    if (mode == TensorIOMode::kNONE) {
        return false;
    }
    tensor.name = name;
    tensor.datatype = static_cast<int32_t>(engine.getTensorDataType(name));
    tensor.is_input = mode == TensorIOMode::kINPUT;
    tensor.is_on_host = engine.getTensorLocation(name) == TensorLocation::kHOST;
    tensor.is_linear = engine.getTensorFormat(name) == TensorFormat::kLINEAR;
    tensor.shape = to_c(engine.getTensorShape(name));
    return true;
}

}  // namespace
}  // namespace shim

extern "C" {

int32_t trt_header_version(void) {
    return static_cast<int32_t>(NV_TENSORRT_VERSION);
}

trt_runtime *trt_runtime_new(void *create, trt_log_fn log, void *user) {
    if (create == nullptr || log == nullptr) {
        return nullptr;
    }
    auto *runtime = new (std::nothrow) trt_runtime{shim::Logger(log, user), nullptr};
    if (runtime == nullptr) {
        return nullptr;
    }
    auto const factory = reinterpret_cast<shim::CreateRuntime>(create);
    runtime->object.reset(shim::create_runtime(factory, runtime->logger));
    if (runtime->object == nullptr) {
        delete runtime;
        return nullptr;
    }
    return runtime;
}

void trt_runtime_free(trt_runtime *runtime) {
    delete runtime;
}

bool trt_runtime_allow_host_code(trt_runtime *runtime, bool allowed) {
    if (runtime == nullptr) {
        return false;
    }
    runtime->object->setEngineHostCodeAllowed(allowed);
    return runtime->object->getEngineHostCodeAllowed() == allowed;
}

bool trt_runtime_load_plugins(trt_runtime *runtime, char const *path) {
    if (runtime == nullptr || path == nullptr) {
        return false;
    }
    return runtime->object->getPluginRegistry().loadLibrary(path) != nullptr;
}

trt_engine *trt_engine_new(trt_runtime *runtime, void const *plan, size_t byte_size) {
    if (runtime == nullptr || plan == nullptr || byte_size == 0) {
        return nullptr;
    }
    ICudaEngine *object = shim::checked(runtime->object->deserializeCudaEngine(plan, byte_size));
    if (object == nullptr) {
        return nullptr;
    }
    std::unique_ptr<ICudaEngine> owned(object);
    return new (std::nothrow) trt_engine{std::move(owned)};
}

void trt_engine_free(trt_engine *engine) {
    delete engine;
}

int32_t trt_engine_tensor_count(trt_engine const *engine) {
    return engine == nullptr ? -1 : engine->object->getNbIOTensors();
}

bool trt_engine_tensor(trt_engine const *engine, int32_t index, trt_tensor *tensor) {
    if (engine == nullptr || tensor == nullptr || index < 0
        || index >= engine->object->getNbIOTensors()) {
        return false;
    }
    char const *name = engine->object->getIOTensorName(index);
    return name != nullptr && shim::describe(*engine->object, name, *tensor);
}

int32_t trt_engine_profile_count(trt_engine const *engine) {
    return engine == nullptr ? -1 : engine->object->getNbOptimizationProfiles();
}

bool trt_engine_profile_shape(trt_engine const *engine, char const *tensor, int32_t profile,
                              int32_t which, trt_dims *shape) {
    bool const is_known = which >= TRT_PROFILE_MIN && which <= TRT_PROFILE_MAX;
    if (engine == nullptr || tensor == nullptr || shape == nullptr || !is_known) {
        return false;
    }
    auto const selector = static_cast<OptProfileSelector>(which);
    *shape = shim::to_c(engine->object->getProfileShape(tensor, profile, selector));
    return shape->count >= 0;
}

int64_t trt_engine_workspace_size(trt_engine const *engine, int32_t profile) {
    return engine == nullptr ? -1 : engine->object->getDeviceMemorySizeForProfileV2(profile);
}

int64_t trt_engine_streamable_size(trt_engine const *engine) {
    return engine == nullptr ? -1 : engine->object->getStreamableWeightsSize();
}

bool trt_engine_set_streaming_budget(trt_engine *engine, int64_t byte_size) {
    return engine != nullptr && engine->object->setWeightStreamingBudgetV2(byte_size);
}

int64_t trt_engine_automatic_budget(trt_engine const *engine) {
    return engine == nullptr ? -1 : engine->object->getWeightStreamingAutomaticBudget();
}

}  // extern "C"
