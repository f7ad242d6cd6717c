/*
 * What is linked where the build machine had no TensorRT headers. The header's rule for null objects is
 * all that applies: no runtime can be made, and without one there is nothing else.
 */
#include "tensorrt_shim.h"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif

int32_t trt_header_version(void) { return 0; }
trt_runtime *trt_runtime_new(void *create, trt_log_fn log, void *user) { return NULL; }
void trt_runtime_free(trt_runtime *runtime) {}
bool trt_runtime_allow_host_code(trt_runtime *runtime, bool allowed) { return false; }
bool trt_runtime_load_plugins(trt_runtime *runtime, const char *path) { return false; }
trt_engine *trt_engine_new(trt_runtime *runtime, const void *plan,
        size_t byte_size) { return NULL; }
void trt_engine_free(trt_engine *engine) {}
int32_t trt_engine_tensor_count(const trt_engine *engine) { return -1; }
bool trt_engine_tensor(const trt_engine *engine, int32_t index,
        trt_tensor *tensor) { return false; }
int32_t trt_engine_profile_count(const trt_engine *engine) { return -1; }
bool trt_engine_profile_shape(const trt_engine *engine, const char *tensor, int32_t profile,
        int32_t which, trt_dims *shape) { return false; }
int64_t trt_engine_workspace_size(const trt_engine *engine, int32_t profile) { return -1; }
int64_t trt_engine_streamable_size(const trt_engine *engine) { return -1; }
bool trt_engine_set_streaming_budget(trt_engine *engine, int64_t byte_size) { return false; }
int64_t trt_engine_automatic_budget(const trt_engine *engine) { return -1; }
trt_context *trt_context_new(trt_engine *engine) { return NULL; }
void trt_context_free(trt_context *context) {}
bool trt_context_set_workspace(trt_context *context, void *memory,
        int64_t byte_size) { return false; }
bool trt_context_set_profile(trt_context *context, int32_t profile, void *stream) { return false; }
bool trt_context_set_shape(trt_context *context, const char *tensor,
        const trt_dims *shape) { return false; }
bool trt_context_set_address(trt_context *context, const char *tensor,
        void *address) { return false; }
bool trt_context_set_allocator(trt_context *context, const char *tensor,
        trt_allocator *allocator) { return false; }
int32_t trt_context_infer_shapes(trt_context *context) { return -1; }
bool trt_context_shape(const trt_context *context, const char *tensor,
        trt_dims *shape) { return false; }
int64_t trt_context_max_output_size(const trt_context *context, const char *tensor) { return -1; }
bool trt_context_enqueue(trt_context *context, void *stream) { return false; }
trt_allocator *trt_allocator_new(trt_allocate_fn allocate, trt_shape_fn shape,
        void *user) { return NULL; }
void trt_allocator_free(trt_allocator *allocator) {}
int32_t trt_parser_version(void) { return 0; }
trt_builder *trt_builder_new(void *create, trt_log_fn log, void *user,
        const trt_build_options *options) { return NULL; }
void trt_builder_free(trt_builder *builder) {}
bool trt_builder_load_plugins(trt_builder *builder, const char *path) { return false; }
bool trt_builder_parse(trt_builder *builder, void *create, const void *model, size_t byte_size,
        const char *path) { return false; }
int32_t trt_builder_error_count(const trt_builder *builder) { return 0; }
bool trt_builder_error(const trt_builder *builder, int32_t index,
        trt_parse_error *error) { return false; }
int32_t trt_builder_input_count(const trt_builder *builder) { return -1; }
bool trt_builder_input(const trt_builder *builder, int32_t index,
        trt_tensor *tensor) { return false; }
bool trt_builder_begin_profile(trt_builder *builder) { return false; }
bool trt_builder_set_shapes(trt_builder *builder, const char *input, const trt_dims *min,
        const trt_dims *opt, const trt_dims *max) { return false; }
bool trt_builder_end_profile(trt_builder *builder) { return false; }
bool trt_builder_set_timing_cache(trt_builder *builder, const void *data,
        size_t byte_size) { return false; }
trt_blob *trt_builder_timing_cache(const trt_builder *builder) { return NULL; }
trt_blob *trt_builder_build(trt_builder *builder) { return NULL; }
void trt_blob_free(trt_blob *blob) {}
const void *trt_blob_data(const trt_blob *blob) { return NULL; }
size_t trt_blob_size(const trt_blob *blob) { return 0; }
