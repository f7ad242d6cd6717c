// Made by bindings.sh of shim/tensorrt_shim.h; not to be edited.

pub const TRT_MAX_DIMS: u32 = 8;
pub const TRT_PROFILE_MIN: u32 = 0;
pub const TRT_PROFILE_OPT: u32 = 1;
pub const TRT_PROFILE_MAX: u32 = 2;
pub const TRT_PRECISION_MODEL: u32 = 0;
pub const TRT_PRECISION_MODEL_TF32: u32 = 1;
pub const TRT_PRECISION_FP16: u32 = 2;
pub const TRT_PRECISION_BF16: u32 = 3;
pub const TRT_HARDWARE_SAME: u32 = 0;
pub const TRT_HARDWARE_AMPERE_PLUS: u32 = 1;
pub const TRT_HARDWARE_SAME_CAPABILITY: u32 = 2;
#[repr(C)]
#[derive(Debug)]
pub struct trt_runtime {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct trt_engine {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct trt_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct trt_allocator {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct trt_builder {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct trt_blob {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct trt_dims {
    pub count: i32,
    pub extents: [i64; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of trt_dims"][::core::mem::size_of::<trt_dims>() - 72usize];
    ["Alignment of trt_dims"][::core::mem::align_of::<trt_dims>() - 8usize];
    ["Offset of field: trt_dims::count"][::core::mem::offset_of!(trt_dims, count) - 0usize];
    ["Offset of field: trt_dims::extents"][::core::mem::offset_of!(trt_dims, extents) - 8usize];
};
pub type trt_log_fn = ::core::option::Option<
    unsafe extern "C" fn(
        user: *mut ::core::ffi::c_void,
        severity: i32,
        message: *const ::core::ffi::c_char,
    ),
>;
pub type trt_allocate_fn = ::core::option::Option<
    unsafe extern "C" fn(
        user: *mut ::core::ffi::c_void,
        tensor: *const ::core::ffi::c_char,
        byte_size: u64,
        alignment: u64,
    ) -> *mut ::core::ffi::c_void,
>;
pub type trt_shape_fn = ::core::option::Option<
    unsafe extern "C" fn(
        user: *mut ::core::ffi::c_void,
        tensor: *const ::core::ffi::c_char,
        shape: *const trt_dims,
    ),
>;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct trt_tensor {
    pub name: *const ::core::ffi::c_char,
    pub datatype: i32,
    pub is_input: bool,
    pub is_on_host: bool,
    pub is_linear: bool,
    pub shape: trt_dims,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of trt_tensor"][::core::mem::size_of::<trt_tensor>() - 88usize];
    ["Alignment of trt_tensor"][::core::mem::align_of::<trt_tensor>() - 8usize];
    ["Offset of field: trt_tensor::name"][::core::mem::offset_of!(trt_tensor, name) - 0usize];
    ["Offset of field: trt_tensor::datatype"]
        [::core::mem::offset_of!(trt_tensor, datatype) - 8usize];
    ["Offset of field: trt_tensor::is_input"]
        [::core::mem::offset_of!(trt_tensor, is_input) - 12usize];
    ["Offset of field: trt_tensor::is_on_host"]
        [::core::mem::offset_of!(trt_tensor, is_on_host) - 13usize];
    ["Offset of field: trt_tensor::is_linear"]
        [::core::mem::offset_of!(trt_tensor, is_linear) - 14usize];
    ["Offset of field: trt_tensor::shape"][::core::mem::offset_of!(trt_tensor, shape) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct trt_build_options {
    pub precision: i32,
    pub hardware: i32,
    pub optimization_level: i32,
    pub version_compatible: bool,
    pub weight_streaming: bool,
    pub workspace_limit: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of trt_build_options"][::core::mem::size_of::<trt_build_options>() - 24usize];
    ["Alignment of trt_build_options"][::core::mem::align_of::<trt_build_options>() - 8usize];
    ["Offset of field: trt_build_options::precision"]
        [::core::mem::offset_of!(trt_build_options, precision) - 0usize];
    ["Offset of field: trt_build_options::hardware"]
        [::core::mem::offset_of!(trt_build_options, hardware) - 4usize];
    ["Offset of field: trt_build_options::optimization_level"]
        [::core::mem::offset_of!(trt_build_options, optimization_level) - 8usize];
    ["Offset of field: trt_build_options::version_compatible"]
        [::core::mem::offset_of!(trt_build_options, version_compatible) - 12usize];
    ["Offset of field: trt_build_options::weight_streaming"]
        [::core::mem::offset_of!(trt_build_options, weight_streaming) - 13usize];
    ["Offset of field: trt_build_options::workspace_limit"]
        [::core::mem::offset_of!(trt_build_options, workspace_limit) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct trt_parse_error {
    pub code: i32,
    pub node: i32,
    pub text: *const ::core::ffi::c_char,
    pub node_name: *const ::core::ffi::c_char,
    pub node_operator: *const ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of trt_parse_error"][::core::mem::size_of::<trt_parse_error>() - 32usize];
    ["Alignment of trt_parse_error"][::core::mem::align_of::<trt_parse_error>() - 8usize];
    ["Offset of field: trt_parse_error::code"]
        [::core::mem::offset_of!(trt_parse_error, code) - 0usize];
    ["Offset of field: trt_parse_error::node"]
        [::core::mem::offset_of!(trt_parse_error, node) - 4usize];
    ["Offset of field: trt_parse_error::text"]
        [::core::mem::offset_of!(trt_parse_error, text) - 8usize];
    ["Offset of field: trt_parse_error::node_name"]
        [::core::mem::offset_of!(trt_parse_error, node_name) - 16usize];
    ["Offset of field: trt_parse_error::node_operator"]
        [::core::mem::offset_of!(trt_parse_error, node_operator) - 24usize];
};
unsafe extern "C" {
    pub fn trt_header_version() -> i32;
}
unsafe extern "C" {
    pub fn trt_runtime_new(
        create: *mut ::core::ffi::c_void,
        log: trt_log_fn,
        user: *mut ::core::ffi::c_void,
    ) -> *mut trt_runtime;
}
unsafe extern "C" {
    pub fn trt_runtime_free(runtime: *mut trt_runtime);
}
unsafe extern "C" {
    pub fn trt_runtime_allow_host_code(runtime: *mut trt_runtime, allowed: bool) -> bool;
}
unsafe extern "C" {
    pub fn trt_runtime_load_plugins(
        runtime: *mut trt_runtime,
        path: *const ::core::ffi::c_char,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_engine_new(
        runtime: *mut trt_runtime,
        plan: *const ::core::ffi::c_void,
        byte_size: usize,
    ) -> *mut trt_engine;
}
unsafe extern "C" {
    pub fn trt_engine_free(engine: *mut trt_engine);
}
unsafe extern "C" {
    pub fn trt_engine_tensor_count(engine: *const trt_engine) -> i32;
}
unsafe extern "C" {
    pub fn trt_engine_tensor(
        engine: *const trt_engine,
        index: i32,
        tensor: *mut trt_tensor,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_engine_profile_count(engine: *const trt_engine) -> i32;
}
unsafe extern "C" {
    pub fn trt_engine_profile_shape(
        engine: *const trt_engine,
        tensor: *const ::core::ffi::c_char,
        profile: i32,
        which: i32,
        shape: *mut trt_dims,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_engine_workspace_size(engine: *const trt_engine, profile: i32) -> i64;
}
unsafe extern "C" {
    pub fn trt_engine_streamable_size(engine: *const trt_engine) -> i64;
}
unsafe extern "C" {
    pub fn trt_engine_set_streaming_budget(engine: *mut trt_engine, byte_size: i64) -> bool;
}
unsafe extern "C" {
    pub fn trt_engine_automatic_budget(engine: *const trt_engine) -> i64;
}
unsafe extern "C" {
    pub fn trt_context_new(engine: *mut trt_engine) -> *mut trt_context;
}
unsafe extern "C" {
    pub fn trt_context_free(context: *mut trt_context);
}
unsafe extern "C" {
    pub fn trt_context_set_workspace(
        context: *mut trt_context,
        memory: *mut ::core::ffi::c_void,
        byte_size: i64,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_set_profile(
        context: *mut trt_context,
        profile: i32,
        stream: *mut ::core::ffi::c_void,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_set_shape(
        context: *mut trt_context,
        tensor: *const ::core::ffi::c_char,
        shape: *const trt_dims,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_set_address(
        context: *mut trt_context,
        tensor: *const ::core::ffi::c_char,
        address: *mut ::core::ffi::c_void,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_set_allocator(
        context: *mut trt_context,
        tensor: *const ::core::ffi::c_char,
        allocator: *mut trt_allocator,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_infer_shapes(context: *mut trt_context) -> i32;
}
unsafe extern "C" {
    pub fn trt_context_shape(
        context: *const trt_context,
        tensor: *const ::core::ffi::c_char,
        shape: *mut trt_dims,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_context_max_output_size(
        context: *const trt_context,
        tensor: *const ::core::ffi::c_char,
    ) -> i64;
}
unsafe extern "C" {
    pub fn trt_context_enqueue(context: *mut trt_context, stream: *mut ::core::ffi::c_void)
    -> bool;
}
unsafe extern "C" {
    pub fn trt_allocator_new(
        allocate: trt_allocate_fn,
        shape: trt_shape_fn,
        user: *mut ::core::ffi::c_void,
    ) -> *mut trt_allocator;
}
unsafe extern "C" {
    pub fn trt_allocator_free(allocator: *mut trt_allocator);
}
unsafe extern "C" {
    pub fn trt_parser_version() -> i32;
}
unsafe extern "C" {
    pub fn trt_builder_new(
        create: *mut ::core::ffi::c_void,
        log: trt_log_fn,
        user: *mut ::core::ffi::c_void,
        options: *const trt_build_options,
    ) -> *mut trt_builder;
}
unsafe extern "C" {
    pub fn trt_builder_free(builder: *mut trt_builder);
}
unsafe extern "C" {
    pub fn trt_builder_load_plugins(
        builder: *mut trt_builder,
        path: *const ::core::ffi::c_char,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_parse(
        builder: *mut trt_builder,
        create: *mut ::core::ffi::c_void,
        model: *const ::core::ffi::c_void,
        byte_size: usize,
        path: *const ::core::ffi::c_char,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_error_count(builder: *const trt_builder) -> i32;
}
unsafe extern "C" {
    pub fn trt_builder_error(
        builder: *const trt_builder,
        index: i32,
        error: *mut trt_parse_error,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_input_count(builder: *const trt_builder) -> i32;
}
unsafe extern "C" {
    pub fn trt_builder_input(
        builder: *const trt_builder,
        index: i32,
        tensor: *mut trt_tensor,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_begin_profile(builder: *mut trt_builder) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_set_shapes(
        builder: *mut trt_builder,
        input: *const ::core::ffi::c_char,
        min: *const trt_dims,
        opt: *const trt_dims,
        max: *const trt_dims,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_end_profile(builder: *mut trt_builder) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_set_timing_cache(
        builder: *mut trt_builder,
        data: *const ::core::ffi::c_void,
        byte_size: usize,
    ) -> bool;
}
unsafe extern "C" {
    pub fn trt_builder_timing_cache(builder: *const trt_builder) -> *mut trt_blob;
}
unsafe extern "C" {
    pub fn trt_builder_build(builder: *mut trt_builder) -> *mut trt_blob;
}
unsafe extern "C" {
    pub fn trt_blob_free(blob: *mut trt_blob);
}
unsafe extern "C" {
    pub fn trt_blob_data(blob: *const trt_blob) -> *const ::core::ffi::c_void;
}
unsafe extern "C" {
    pub fn trt_blob_size(blob: *const trt_blob) -> usize;
}
