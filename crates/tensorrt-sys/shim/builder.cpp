// Builders: from an ONNX model to a plan.
#include <new>

#include "NvInfer.h"
#include "objects.h"
#if __has_include("NvOnnxParser.h")
#include "NvOnnxParser.h"
#define DESPINA_HAS_PARSER 1
#else
#define DESPINA_HAS_PARSER 0
#endif

using nvinfer1::BuilderFlag;
using nvinfer1::Dims;
using nvinfer1::HardwareCompatibilityLevel;
using nvinfer1::IBuilder;
using nvinfer1::IBuilderConfig;
using nvinfer1::IHostMemory;
using nvinfer1::INetworkDefinition;
using nvinfer1::IOptimizationProfile;
using nvinfer1::ITensor;
using nvinfer1::ITimingCache;
using nvinfer1::MemoryPoolType;
using nvinfer1::OptProfileSelector;

struct trt_blob {
    std::unique_ptr<IHostMemory> object;
};

#if DESPINA_HAS_PARSER
using Parser = nvonnxparser::IParser;
#else
struct Parser {};
#endif

// Members are destroyed from the last to the first: the parser, whose memory the network's weights are,
// only when nothing is built any more; the cache after the configuration that refers to it.
struct trt_builder {
    shim::Logger logger;
    std::unique_ptr<IBuilder> object;
    std::unique_ptr<INetworkDefinition> network;
    std::unique_ptr<ITimingCache> timing_cache;
    std::unique_ptr<IBuilderConfig> config;
    std::unique_ptr<Parser> parser;
    // The builder's own: it frees them.
    IOptimizationProfile *profile = nullptr;
};

namespace shim {
namespace {

using CreateBuilder = void *(*)(void *logger, int32_t version);
using CreateParser = void *(*)(void *network, void *logger, int version);

// The libraries' factories are reached by their address, so nothing declares that they do not throw.
IBuilder *create_builder(CreateBuilder create, Logger &logger) noexcept {
    try {
        void *builder = create(static_cast<nvinfer1::ILogger *>(&logger), NV_TENSORRT_VERSION);
        return checked(static_cast<IBuilder *>(builder));
    } catch (...) {
        return nullptr;
    }
}

// TensorRT 11 knows strong types only; 10 has to be told, unless it shall choose lower precisions.
nvinfer1::NetworkDefinitionCreationFlags network_flags(int32_t precision) {
#if NV_TENSORRT_MAJOR == 10
    bool const is_strong = precision == TRT_PRECISION_MODEL || precision == TRT_PRECISION_MODEL_TF32;
    auto const bit = static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
    return is_strong ? 1U << bit : 0U;
#else
    static_cast<void>(precision);
    return 0U;
#endif
}

bool set_precision(IBuilderConfig &config, int32_t precision) {
    config.clearFlag(BuilderFlag::kTF32);
    switch (precision) {
    case TRT_PRECISION_MODEL: return true;
    case TRT_PRECISION_MODEL_TF32: config.setFlag(BuilderFlag::kTF32); return true;
#if NV_TENSORRT_MAJOR == 10
    case TRT_PRECISION_FP16:
        config.setFlag(BuilderFlag::kTF32);
        config.setFlag(BuilderFlag::kFP16);
        return true;
    case TRT_PRECISION_BF16:
        config.setFlag(BuilderFlag::kTF32);
        config.setFlag(BuilderFlag::kBF16);
        return true;
#endif
    default: return false;
    }
}

bool set_hardware(IBuilderConfig &config, int32_t hardware) {
    switch (hardware) {
    case TRT_HARDWARE_SAME: return true;
    case TRT_HARDWARE_AMPERE_PLUS:
        config.setHardwareCompatibilityLevel(HardwareCompatibilityLevel::kAMPERE_PLUS);
        return true;
#if NV_TENSORRT_VERSION >= 100900
    case TRT_HARDWARE_SAME_CAPABILITY:
        config.setHardwareCompatibilityLevel(HardwareCompatibilityLevel::kSAME_COMPUTE_CAPABILITY);
        return true;
#endif
    default: return false;
    }
}

bool configure(IBuilderConfig &config, trt_build_options const &options) {
    if (!set_precision(config, options.precision) || !set_hardware(config, options.hardware)) {
        return false;
    }
    if (options.version_compatible) {
        config.setFlag(BuilderFlag::kVERSION_COMPATIBLE);
    }
    if (options.weight_streaming) {
        config.setFlag(BuilderFlag::kWEIGHT_STREAMING);
    }
    if (options.workspace_limit != 0) {
        config.setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, options.workspace_limit);
    }
    if (options.optimization_level >= 0) {
        config.setBuilderOptimizationLevel(options.optimization_level);
    }
    return true;
}

// Fills in what the options ask for; false if that cannot be done.
bool prepare(trt_builder &builder, trt_build_options const &options) {
    builder.network.reset(checked(builder.object->createNetworkV2(network_flags(options.precision))));
    builder.config.reset(checked(builder.object->createBuilderConfig()));
    return builder.network != nullptr && builder.config != nullptr && configure(*builder.config, options);
}

bool describe(ITensor const &input, trt_tensor &tensor) {
    tensor.name = input.getName();
    tensor.datatype = static_cast<int32_t>(input.getType());
    tensor.is_input = true;
    tensor.is_on_host = input.isShapeTensor();
    tensor.is_linear = true;
    tensor.shape = to_c(input.getDimensions());
    return tensor.name != nullptr;
}

bool set_shape(IOptimizationProfile &profile, char const *input, OptProfileSelector which,
               trt_dims const *shape) {
    Dims dims{};
    return to_cpp(shape, dims) && profile.setDimensions(input, which, dims);
}

trt_blob *to_blob(IHostMemory *memory) {
    std::unique_ptr<IHostMemory> owned(checked(memory));
    if (owned == nullptr || owned->data() == nullptr || owned->size() == 0) {
        return nullptr;
    }
    return new (std::nothrow) trt_blob{std::move(owned)};
}

#if DESPINA_HAS_PARSER
Parser *create_parser(CreateParser create, trt_builder &builder) noexcept {
    try {
        void *parser = create(builder.network.get(), static_cast<nvinfer1::ILogger *>(&builder.logger),
                              NV_ONNX_PARSER_VERSION);
        return checked(static_cast<Parser *>(parser));
    } catch (...) {
        return nullptr;
    }
}

bool describe(nvonnxparser::IParserError const &fault, trt_parse_error &error) noexcept {
    try {
        error.code = static_cast<int32_t>(fault.code());
        error.node = fault.node();
        error.text = fault.desc();
        error.node_name = fault.nodeName();
        error.node_operator = fault.nodeOperator();
        return true;
    } catch (...) {
        return false;
    }
}
#endif

}  // namespace
}  // namespace shim

extern "C" {

int32_t trt_parser_version(void) {
#if DESPINA_HAS_PARSER
    return NV_ONNX_PARSER_VERSION;
#else
    return 0;
#endif
}

trt_builder *trt_builder_new(void *create, trt_log_fn log, void *user, trt_build_options const *options) {
    if (create == nullptr || log == nullptr || options == nullptr) {
        return nullptr;
    }
    auto *builder = new (std::nothrow) trt_builder{shim::Logger(log, user), nullptr, nullptr, nullptr, nullptr,
                                                   nullptr};
    if (builder == nullptr) {
        return nullptr;
    }
    auto const factory = reinterpret_cast<shim::CreateBuilder>(create);
    builder->object.reset(shim::create_builder(factory, builder->logger));
    if (builder->object == nullptr || !shim::prepare(*builder, *options)) {
        delete builder;
        return nullptr;
    }
    return builder;
}

void trt_builder_free(trt_builder *builder) {
    delete builder;
}

bool trt_builder_load_plugins(trt_builder *builder, char const *path) {
    if (builder == nullptr || path == nullptr) {
        return false;
    }
    return builder->object->getPluginRegistry().loadLibrary(path) != nullptr;
}

bool trt_builder_parse(trt_builder *builder, void *create, void const *model, size_t byte_size,
                       char const *path) {
    if (builder == nullptr || create == nullptr || model == nullptr || byte_size == 0) {
        return false;
    }
#if DESPINA_HAS_PARSER
    auto const factory = reinterpret_cast<shim::CreateParser>(create);
    builder->parser.reset(shim::create_parser(factory, *builder));
    return builder->parser != nullptr && builder->parser->parse(model, byte_size, path);
#else
    static_cast<void>(path);
    return false;
#endif
}

int32_t trt_builder_error_count(trt_builder const *builder) {
#if DESPINA_HAS_PARSER
    bool const has_parser = builder != nullptr && builder->parser != nullptr;
    return has_parser ? builder->parser->getNbErrors() : 0;
#else
    static_cast<void>(builder);
    return 0;
#endif
}

bool trt_builder_error(trt_builder const *builder, int32_t index, trt_parse_error *error) {
    if (error == nullptr || index < 0 || index >= trt_builder_error_count(builder)) {
        return false;
    }
#if DESPINA_HAS_PARSER
    auto const *fault = shim::checked(builder->parser->getError(index));
    return fault != nullptr && shim::describe(*fault, *error);
#else
    return false;
#endif
}

int32_t trt_builder_input_count(trt_builder const *builder) {
    return builder == nullptr ? -1 : builder->network->getNbInputs();
}

bool trt_builder_input(trt_builder const *builder, int32_t index, trt_tensor *tensor) {
    if (tensor == nullptr || index < 0 || index >= trt_builder_input_count(builder)) {
        return false;
    }
    ITensor const *input = shim::checked(builder->network->getInput(index));
    return input != nullptr && shim::describe(*input, *tensor);
}

bool trt_builder_begin_profile(trt_builder *builder) {
    if (builder == nullptr) {
        return false;
    }
    builder->profile = shim::checked(builder->object->createOptimizationProfile());
    return builder->profile != nullptr;
}

bool trt_builder_set_shapes(trt_builder *builder, char const *input, trt_dims const *min, trt_dims const *opt,
                            trt_dims const *max) {
    if (builder == nullptr || builder->profile == nullptr || input == nullptr) {
        return false;
    }
    return shim::set_shape(*builder->profile, input, OptProfileSelector::kMIN, min)
        && shim::set_shape(*builder->profile, input, OptProfileSelector::kOPT, opt)
        && shim::set_shape(*builder->profile, input, OptProfileSelector::kMAX, max);
}

bool trt_builder_end_profile(trt_builder *builder) {
    if (builder == nullptr || builder->profile == nullptr) {
        return false;
    }
    bool const is_valid = builder->profile->isValid();
    bool const is_added = is_valid && builder->config->addOptimizationProfile(builder->profile) >= 0;
    builder->profile = nullptr;
    return is_added;
}

bool trt_builder_set_timing_cache(trt_builder *builder, void const *data, size_t byte_size) {
    if (builder == nullptr) {
        return false;
    }
    std::unique_ptr<ITimingCache> cache(shim::checked(builder->config->createTimingCache(data, byte_size)));
    if (cache == nullptr || !builder->config->setTimingCache(*cache, false)) {
        return false;
    }
    builder->timing_cache = std::move(cache);
    return true;
}

trt_blob *trt_builder_timing_cache(trt_builder const *builder) {
    if (builder == nullptr || builder->timing_cache == nullptr) {
        return nullptr;
    }
    return shim::to_blob(builder->timing_cache->serialize());
}

trt_blob *trt_builder_build(trt_builder *builder) {
    if (builder == nullptr) {
        return nullptr;
    }
    return shim::to_blob(builder->object->buildSerializedNetwork(*builder->network, *builder->config));
}

void trt_blob_free(trt_blob *blob) {
    delete blob;
}

void const *trt_blob_data(trt_blob const *blob) {
    return blob == nullptr ? nullptr : blob->object->data();
}

size_t trt_blob_size(trt_blob const *blob) {
    return blob == nullptr ? 0 : blob->object->size();
}

}  // extern "C"
