//! What configurations may set of each execution provider, by Triton's names, and how a value is
//! written for it. Options that name libraries to be loaded are not among them.

use std::path::Path;

use super::options::switch;
use crate::model_config::{did_you_mean, stays_inside};

/// One key of a configuration.
#[derive(Debug)]
pub(super) struct Key {
    /// As configurations write it.
    pub(super) name: &'static str,
    /// As the provider calls it.
    option: &'static str,
    value: Value,
}

/// What a key's value may be.
#[derive(Debug)]
enum Value {
    /// 0 or 1.
    Switch,
    /// `true` or `false`, however it is given.
    Word,
    /// A whole number.
    Number,
    /// One of these, by its name or its place in the list.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A path inside the version's folder.
    Path,
    /// Triton's precision mode: each is an option of its own.
    Precision,
    /// Only off: it needs what this server does not do yet.
    Off(&'static str),
}

const ADDRESSES: &str = "inputs and outputs at fixed addresses in the GPU's memory";

/// Of the CUDA provider: parameters of the model, and of an accelerator `cuda`.
pub(super) const CUDA: &[Key] = &[
    same("gpu_mem_limit", Value::Number),
    same(
        "arena_extend_strategy",
        Value::Choice(&["kNextPowerOfTwo", "kSameAsRequested"]),
    ),
    same(
        "cudnn_conv_algo_search",
        Value::Choice(&["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]),
    ),
    same("do_copy_in_default_stream", Value::Switch),
    same("cudnn_conv_use_max_workspace", Value::Switch),
    same("cudnn_conv1d_pad_to_nc1d", Value::Switch),
    same("enable_skip_layer_norm_strict_mode", Value::Switch),
    same("fuse_conv_bias", Value::Switch),
    same("prefer_nhwc", Value::Switch),
    same("sdpa_kernel", Value::Number),
    same("tunable_op_enable", Value::Switch),
    same("tunable_op_tuning_enable", Value::Switch),
    same("tunable_op_max_tuning_duration_ms", Value::Number),
    same("use_ep_level_unified_stream", Value::Switch),
    same("use_tf32", Value::Switch),
    same("enable_cuda_graph", Value::Off(ADDRESSES)),
];

/// Of an accelerator `tensorrt`.
pub(super) const TENSORRT: &[Key] = &[
    key("precision_mode", "", Value::Precision),
    key(
        "max_workspace_size_bytes",
        "trt_max_workspace_size",
        Value::Number,
    ),
    key(
        "int8_calibration_table_name",
        "trt_int8_calibration_table_name",
        Value::Path,
    ),
    key(
        "int8_use_native_calibration_table",
        "trt_int8_use_native_calibration_table",
        Value::Switch,
    ),
    same("trt_max_partition_iterations", Value::Number),
    same("trt_min_subgraph_size", Value::Number),
    same("trt_dla_enable", Value::Switch),
    same("trt_dla_core", Value::Number),
    same("trt_dump_subgraphs", Value::Switch),
    same("trt_engine_cache_enable", Value::Switch),
    same("trt_engine_cache_path", Value::Path),
    same("trt_engine_cache_prefix", Value::Text),
    same("trt_engine_hw_compatible", Value::Switch),
    same("trt_weight_stripped_engine_enable", Value::Switch),
    same("trt_timing_cache_enable", Value::Switch),
    same("trt_timing_cache_path", Value::Path),
    same("trt_force_timing_cache", Value::Switch),
    same("trt_force_sequential_engine_build", Value::Switch),
    same("trt_context_memory_sharing_enable", Value::Switch),
    same("trt_layer_norm_fp32_fallback", Value::Switch),
    same("trt_detailed_build_log", Value::Switch),
    same("trt_build_heuristics_enable", Value::Switch),
    same("trt_builder_optimization_level", Value::Number),
    same("trt_sparsity_enable", Value::Switch),
    same("trt_auxiliary_streams", Value::Number),
    same("trt_tactic_sources", Value::Text),
    same("trt_profile_min_shapes", Value::Text),
    same("trt_profile_opt_shapes", Value::Text),
    same("trt_profile_max_shapes", Value::Text),
    same("trt_cuda_graph_enable", Value::Off(ADDRESSES)),
];

/// Of an accelerator `openvino`.
pub(super) const OPENVINO: &[Key] = &[
    same("device_type", Value::Text),
    same("precision", Value::Text),
    same("num_of_threads", Value::Number),
    same("num_streams", Value::Number),
    same(
        "model_priority",
        Value::Choice(&["LOW", "MEDIUM", "HIGH", "DEFAULT"]),
    ),
    same("cache_dir", Value::Path),
    same("disable_dynamic_shapes", Value::Word),
    same("enable_opencl_throttling", Value::Word),
    same("enable_qdq_optimizer", Value::Word),
];

/// A key that the provider calls as configurations do.
const fn same(name: &'static str, value: Value) -> Key {
    key(name, name, value)
}

const fn key(name: &'static str, option: &'static str, value: Value) -> Key {
    Key {
        name,
        option,
        value,
    }
}

/// The key of that name.
///
/// # Errors
/// One line with the nearest name that there is.
pub(super) fn find<'a>(keys: &'a [Key], name: &str) -> Result<&'a Key, String> {
    keys.iter().find(|key| key.name == name).ok_or_else(|| {
        let names = keys.iter().map(|key| key.name);
        format!(
            "unknown parameter '{}'{}",
            name.escape_debug(),
            did_you_mean(name, names)
        )
    })
}

impl Key {
    /// The provider's option and its value; `None` if the provider's own default says it already.
    /// Paths are relative to `folder`.
    ///
    /// # Errors
    /// One line with the value and what was expected.
    pub(super) fn option(
        &self,
        text: &str,
        folder: &Path,
    ) -> Result<Option<(String, String)>, String> {
        let text = text.trim();
        let expected = |what: &str| {
            format!(
                "parameter '{}' has value '{}', expected {what}",
                self.name,
                text.escape_debug()
            )
        };
        let bit = |on: bool| if on { "1" } else { "0" };
        let value = match self.value {
            Value::Switch => bit(switch(text).ok_or_else(|| expected("0 or 1"))?).to_owned(),
            Value::Word => switch(text)
                .ok_or_else(|| expected("true or false"))?
                .to_string(),
            Value::Number => text
                .parse::<u64>()
                .map_err(|_| expected("a whole number"))?
                .to_string(),
            Value::Choice(names) => choice(names, text)
                .ok_or_else(|| expected(&choices(names, text)))?
                .to_owned(),
            Value::Text if text.contains('\0') => return Err(expected("text without NUL")),
            Value::Text => text.to_owned(),
            Value::Path if stays_inside(text) => folder.join(text).display().to_string(),
            Value::Path => return Err(expected("a relative path inside the version's folder")),
            Value::Off(needs) => match switch(text) {
                Some(false) => return Ok(None),
                _ => {
                    return Err(format!(
                        "parameter '{}' needs {needs}, which this version of Despina does not have",
                        self.name
                    ));
                }
            },
            Value::Precision => {
                let mode = precision(text).ok_or_else(|| expected("FP32, FP16, BF16 or INT8"))?;
                return Ok(mode.map(|option| (option.to_owned(), "1".to_owned())));
            }
        };
        Ok(Some((self.option.to_owned(), value)))
    }
}

fn choice(names: &'static [&'static str], text: &str) -> Option<&'static str> {
    let by_name = names.iter().find(|name| name.eq_ignore_ascii_case(text));
    let by_place = || names.get(text.parse::<usize>().ok()?);
    by_name.or_else(by_place).copied()
}

fn choices(names: &'static [&'static str], text: &str) -> String {
    let all: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(place, name)| format!("{place} ({name})"))
        .collect();
    format!(
        "{}{}",
        all.join(", "),
        did_you_mean(text, names.iter().copied())
    )
}

/// The option that is to be switched on, if one is.
fn precision(mode: &str) -> Option<Option<&'static str>> {
    match mode.to_ascii_uppercase().as_str() {
        "FP32" => Some(None),
        "FP16" => Some(Some("trt_fp16_enable")),
        "BF16" => Some(Some("trt_bf16_enable")),
        "INT8" => Some(Some("trt_int8_enable")),
        _ => None,
    }
}
