/*
 * What Despina uses of TensorRT's C++ interface, as C. This is the header that bindgen reads.
 *
 * Rules for all functions: a null or failed object is answered with false, 0, -1 or null, never
 * followed. Objects are given back with the function of their name that ends in `_free`, which takes
 * null as well; contexts before their engine, engines before their runtime. Names of tensors that come
 * back live as long as their engine. No C++ exception leaves a function. Callbacks must not unwind.
 */
#ifndef DESPINA_TENSORRT_SHIM_H
#define DESPINA_TENSORRT_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Dimensions that TensorRT's `Dims` has room for. */
#define TRT_MAX_DIMS 8

typedef struct trt_runtime trt_runtime;
typedef struct trt_engine trt_engine;
typedef struct trt_context trt_context;
typedef struct trt_allocator trt_allocator;
typedef struct trt_builder trt_builder;
typedef struct trt_blob trt_blob;

/* A shape. `count` is -1 where TensorRT does not know it. */
typedef struct {
    int32_t count;
    int64_t extents[TRT_MAX_DIMS];
} trt_dims;

/* Severities are those of `ILogger::Severity`, from 0 (internal error) to 4 (verbose). */
typedef void (*trt_log_fn)(void *user, int32_t severity, const char *message);

/* Memory of the device for an output of at least `byte_size` bytes, or null. */
typedef void *(*trt_allocate_fn)(void *user, const char *tensor, uint64_t byte_size,
                                 uint64_t alignment);

/* The shape that an output turned out to have. */
typedef void (*trt_shape_fn)(void *user, const char *tensor, const trt_dims *shape);

/* What a tensor is, for `trt_engine_tensor`. */
typedef struct {
    const char *name;
    /* Of `DataType`. */
    int32_t datatype;
    bool is_input;
    /* Its values are read or written on the host: a shape tensor. */
    bool is_on_host;
    /* Its elements lie in row-major order, without padding. */
    bool is_linear;
    /* Every dimension; -1 is variable. */
    trt_dims shape;
} trt_tensor;

/* Which of a profile's three shapes, as `OptProfileSelector`. */
#define TRT_PROFILE_MIN 0
#define TRT_PROFILE_OPT 1
#define TRT_PROFILE_MAX 2

/* Types as the model has them, without and with TF32 in products of float32. */
#define TRT_PRECISION_MODEL 0
#define TRT_PRECISION_MODEL_TF32 1
/* TensorRT may choose these besides; only version 10 can. */
#define TRT_PRECISION_FP16 2
#define TRT_PRECISION_BF16 3

/* Which devices a plan runs on: the kind that it was built on, Ampere and all later ones, or those of the
 * same compute capability (from 10.9 on). */
#define TRT_HARDWARE_SAME 0
#define TRT_HARDWARE_AMPERE_PLUS 1
#define TRT_HARDWARE_SAME_CAPABILITY 2

/* How a plan is built. */
typedef struct {
    /* By `TRT_PRECISION_…`. */
    int32_t precision;
    /* By `TRT_HARDWARE_…`. */
    int32_t hardware;
    /* From 0 to 5; -1: TensorRT's own. */
    int32_t optimization_level;
    bool version_compatible;
    bool weight_streaming;
    /* Bytes of the device's memory that one layer may use besides; 0: all. */
    uint64_t workspace_limit;
} trt_build_options;

/* Why an ONNX model was not taken. Texts may be null, and live until the builder goes. */
typedef struct {
    int32_t code;
    /* The node's number; -1 if it is about none. */
    int32_t node;
    const char *text;
    const char *node_name;
    const char *node_operator;
} trt_parse_error;

/* The version of the headers that the shim was compiled with: major * 10000 + minor * 100 + patch. */
int32_t trt_header_version(void);

/* `create` is the library's `createInferRuntime_INTERNAL`. A driver must have been initialised. */
trt_runtime *trt_runtime_new(void *create, trt_log_fn log, void *user);
void trt_runtime_free(trt_runtime *runtime);
/* Whether plans may bring host code along: those built to be version compatible do. */
bool trt_runtime_allow_host_code(trt_runtime *runtime, bool allowed);
/* A shared library of plugins, for the engines that this runtime reads from now on. */
bool trt_runtime_load_plugins(trt_runtime *runtime, const char *path);

trt_engine *trt_engine_new(trt_runtime *runtime, const void *plan, size_t byte_size);
void trt_engine_free(trt_engine *engine);
int32_t trt_engine_tensor_count(const trt_engine *engine);
bool trt_engine_tensor(const trt_engine *engine, int32_t index, trt_tensor *tensor);
int32_t trt_engine_profile_count(const trt_engine *engine);
/* The shape of an input in a profile, by `TRT_PROFILE_…`. */
bool trt_engine_profile_shape(const trt_engine *engine, const char *tensor, int32_t profile,
                              int32_t which, trt_dims *shape);
/* Bytes of the device's memory that a context needs while it runs in that profile; -1: not known. */
int64_t trt_engine_workspace_size(const trt_engine *engine, int32_t profile);
/* Bytes of weights that can be streamed, 0 if the plan was not built for that; -1: not known. */
int64_t trt_engine_streamable_size(const trt_engine *engine);
/* Bytes of such weights that stay on the device. Only while the engine has no context. */
bool trt_engine_set_streaming_budget(trt_engine *engine, int64_t byte_size);
/* What TensorRT itself would set; -1: not known. */
int64_t trt_engine_automatic_budget(const trt_engine *engine);

/* A context without workspace; it gets that with `trt_context_set_workspace`. */
trt_context *trt_context_new(trt_engine *engine);
void trt_context_free(trt_context *context);
bool trt_context_set_workspace(trt_context *context, void *memory, int64_t byte_size);
bool trt_context_set_profile(trt_context *context, int32_t profile, void *stream);
bool trt_context_set_shape(trt_context *context, const char *tensor, const trt_dims *shape);
bool trt_context_set_address(trt_context *context, const char *tensor, void *address);
/* Null takes the allocator away again. */
bool trt_context_set_allocator(trt_context *context, const char *tensor, trt_allocator *allocator);
/* How many inputs still lack a shape or a value: 0 if output shapes are known; -1: failed. */
int32_t trt_context_infer_shapes(trt_context *context);
bool trt_context_shape(const trt_context *context, const char *tensor, trt_dims *shape);
/* Bytes that the output can have at most, with the shapes that are set; -1: not known. */
int64_t trt_context_max_output_size(const trt_context *context, const char *tensor);
bool trt_context_enqueue(trt_context *context, void *stream);

/* For outputs whose size is not known before they are computed. */
trt_allocator *trt_allocator_new(trt_allocate_fn allocate, trt_shape_fn shape, void *user);
void trt_allocator_free(trt_allocator *allocator);

/* The version of the ONNX parser's header; 0 if the build machine had none. */
int32_t trt_parser_version(void);

/* `create` is the library's `createInferBuilder_INTERNAL`; a device's context must be current. Null if
 * that version of TensorRT has no such option, or cannot be started. */
trt_builder *trt_builder_new(void *create, trt_log_fn log, void *user, const trt_build_options *options);
void trt_builder_free(trt_builder *builder);
bool trt_builder_load_plugins(trt_builder *builder, const char *path);
/* Takes the ONNX model in. `create` is the parser library's `createNvOnnxParser_INTERNAL`; external data is
 * looked for beside `path`. */
bool trt_builder_parse(trt_builder *builder, void *create, const void *model, size_t byte_size,
                       const char *path);
/* Why the model was not taken. */
int32_t trt_builder_error_count(const trt_builder *builder);
bool trt_builder_error(const trt_builder *builder, int32_t index, trt_parse_error *error);
/* The inputs of the model that was taken; names live until the builder goes. */
int32_t trt_builder_input_count(const trt_builder *builder);
bool trt_builder_input(const trt_builder *builder, int32_t index, trt_tensor *tensor);
/* One optimization profile: begin, shapes of each input that varies, end. */
bool trt_builder_begin_profile(trt_builder *builder);
bool trt_builder_set_shapes(trt_builder *builder, const char *input, const trt_dims *min,
                            const trt_dims *opt, const trt_dims *max);
bool trt_builder_end_profile(trt_builder *builder);
/* What is known of how long kernels take; null and 0: nothing yet. Before the build. */
bool trt_builder_set_timing_cache(trt_builder *builder, const void *data, size_t byte_size);
/* The same with what this build has added, if there is one. */
trt_blob *trt_builder_timing_cache(const trt_builder *builder);
/* The plan. Takes minutes. */
trt_blob *trt_builder_build(trt_builder *builder);

/* Bytes that TensorRT gave. Before the builder. */
void trt_blob_free(trt_blob *blob);
const void *trt_blob_data(const trt_blob *blob);
size_t trt_blob_size(const trt_blob *blob);

#ifdef __cplusplus
}
#endif

#endif
