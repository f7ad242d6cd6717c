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

#ifdef __cplusplus
}
#endif

#endif
