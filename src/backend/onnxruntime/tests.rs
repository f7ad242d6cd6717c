use std::{collections::BTreeMap, path::Path};

use super::{
    options::{SessionOptions, slips},
    providers::{self, Provider, ProviderKind},
};
use crate::{
    device::Device,
    model_config::{self, Environment, ModelConfig},
};

fn config(extra: &str) -> ModelConfig {
    let text = format!("name: 'm' backend: 'onnxruntime' platform: 'onnxruntime_onnx' {extra}");
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &Environment::default()).unwrap()
}

fn parameter(key: &str, value: &str) -> String {
    format!("parameters {{ key: '{key}' value {{ string_value: '{value}' }} }}\n")
}

fn accelerator(side: &str, name: &str, parameters: &[(&str, &str)]) -> String {
    let parameters: String = parameters
        .iter()
        .map(|(key, value)| format!("parameters {{ key: '{key}' value: '{value}' }}"))
        .collect();
    format!("{side}_execution_accelerator {{ name: '{name}' {parameters} }}")
}

fn accelerators(list: &str) -> ModelConfig {
    config(&format!(
        "optimization {{ execution_accelerators {{ {list} }} }}"
    ))
}

fn options(extra: &str) -> SessionOptions {
    SessionOptions::read(&config(extra)).unwrap()
}

#[test]
fn session_options_follow_tritons_parameters() {
    let none = SessionOptions::default();
    let cases = [
        (String::new(), none.clone()),
        (
            "optimization { graph { level: -1 } }".to_owned(),
            SessionOptions {
                graph_level: Some(-1),
                ..none.clone()
            },
        ),
        (
            parameter("intra_op_thread_count", "4") + &parameter("inter_op_thread_count", " 0 "),
            SessionOptions {
                intra_threads: Some(4),
                inter_threads: Some(0),
                ..none.clone()
            },
        ),
        (
            parameter("execution_mode", "1"),
            SessionOptions {
                parallel: true,
                ..none.clone()
            },
        ),
        (
            parameter("enable_mem_arena", "0") + &parameter("enable_mem_pattern", "true"),
            SessionOptions {
                no_arena: true,
                memory_pattern: true,
                ..none.clone()
            },
        ),
        (
            parameter("memory.enable_memory_arena_shrinkage", "cpu:0;gpu:1"),
            SessionOptions {
                shrink: Some("cpu:0;gpu:1".to_owned()),
                ..none.clone()
            },
        ),
        (
            parameter("session.disable_prepacking", "1")
                + &parameter("free_dimension_override.height", "224")
                + &parameter("somebody_elses", "x"),
            SessionOptions {
                entries: vec![("session.disable_prepacking".to_owned(), "1".to_owned())],
                dimensions: vec![("height".to_owned(), 224)],
                ..none
            },
        ),
    ];
    for (extra, want) in cases {
        assert_eq!(options(&extra), want, "{extra}");
    }
}

#[test]
fn bad_session_options_are_named_with_what_was_expected() {
    let cases = [
        (
            "intra_op_thread_count",
            "many",
            "parameter 'intra_op_thread_count' of model 'm' has value 'many', expected a number \
             from 0 to 1024",
        ),
        (
            "inter_op_thread_count",
            "1025",
            "parameter 'inter_op_thread_count' of model 'm' has value '1025', expected a number \
             from 0 to 1024",
        ),
        (
            "execution_mode",
            "2",
            "parameter 'execution_mode' of model 'm' has value '2', expected 0 or 1",
        ),
        (
            "memory.enable_memory_arena_shrinkage",
            "cpu;gpu:0",
            "parameter 'memory.enable_memory_arena_shrinkage' of model 'm' has value 'cpu;gpu:0', \
             expected arenas such as cpu:0;gpu:0",
        ),
        (
            "session.disable_prepack",
            "1",
            "parameter 'session.disable_prepack' of model 'm' is none that may be set, did you \
             mean 'session.disable_prepacking'?",
        ),
        (
            "free_dimension_override.h",
            "0",
            "parameter 'free_dimension_override.h' of model 'm' has value '0', expected a number \
             from 1 to 4294967295",
        ),
    ];
    for (key, value, want) in cases {
        let error = SessionOptions::read(&config(&parameter(key, value))).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn slips_of_known_parameters_are_noticed_and_others_are_nobodys_business() {
    let config = config(
        &(parameter("intra_op_thread_cuont", "1")
            + &parameter("gpu_mem_limits", "1")
            + &parameter("owner", "me")
            + &parameter("execution_mode", "0")),
    );
    assert_eq!(
        slips(&config, &providers::parameters()),
        [
            "parameter 'gpu_mem_limits' is unknown, did you mean 'gpu_mem_limit'?",
            "parameter 'intra_op_thread_cuont' is unknown, did you mean 'intra_op_thread_count'?",
        ]
    );
}

fn read(config: &ModelConfig, device: Device) -> Result<Vec<Provider>, String> {
    providers::read(config, device, Path::new("/m/1")).map_err(|error| error.to_string())
}

fn provider(kind: ProviderKind, options: &[(&str, &str)]) -> Provider {
    let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    Provider {
        kind,
        options: options.iter().map(owned).collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn a_gpu_gets_the_cuda_provider_as_the_parameters_want_it() {
    let extra = parameter("cudnn_conv_algo_search", "1")
        + &parameter("gpu_mem_limit", "1073741824")
        + &parameter("arena_extend_strategy", "kSameAsRequested")
        + &parameter("do_copy_in_default_stream", "0");
    let config = config(&extra);
    assert_eq!(
        read(&config, Device::Cuda(3)).unwrap(),
        [provider(
            ProviderKind::Cuda,
            &[
                ("device_id", "3"),
                ("cudnn_conv_algo_search", "HEURISTIC"),
                ("gpu_mem_limit", "1073741824"),
                ("arena_extend_strategy", "kSameAsRequested"),
                ("do_copy_in_default_stream", "0"),
            ]
        )]
    );
    assert_eq!(read(&config, Device::Host).unwrap(), []);
}

#[test]
fn accelerators_come_before_cuda_and_each_device_has_its_own() {
    let both = [
        accelerator(
            "gpu",
            "tensorrt",
            &[
                ("precision_mode", "fp16"),
                ("max_workspace_size_bytes", "1024"),
                ("trt_engine_cache_enable", "true"),
                ("trt_engine_cache_path", ".engines"),
            ],
        ),
        accelerator("cpu", "openvino", &[("disable_dynamic_shapes", "1")]),
    ]
    .concat();
    let config = accelerators(&both);
    let tensorrt = provider(
        ProviderKind::TensorRt,
        &[
            ("device_id", "0"),
            ("trt_fp16_enable", "1"),
            ("trt_max_workspace_size", "1024"),
            ("trt_engine_cache_enable", "1"),
            ("trt_engine_cache_path", "/m/1/.engines"),
        ],
    );
    let cuda = provider(ProviderKind::Cuda, &[("device_id", "0")]);
    assert_eq!(read(&config, Device::Cuda(0)).unwrap(), [tensorrt, cuda]);
    let openvino = provider(
        ProviderKind::OpenVino,
        &[("disable_dynamic_shapes", "true")],
    );
    assert_eq!(read(&config, Device::Host).unwrap(), [openvino]);
}

#[test]
fn cuda_as_an_accelerator_is_there_once_and_wins_over_parameters() {
    let list = accelerator("gpu", "cuda", &[("use_tf32", "0"), ("gpu_mem_limit", "7")]);
    let config = config(&format!(
        "optimization {{ execution_accelerators {{ {list} }} }} {}",
        parameter("gpu_mem_limit", "9")
    ));
    assert_eq!(
        read(&config, Device::Cuda(0)).unwrap(),
        [provider(
            ProviderKind::Cuda,
            &[
                ("device_id", "0"),
                ("use_tf32", "0"),
                ("gpu_mem_limit", "7")
            ]
        )]
    );
}

#[test]
fn fp32_is_the_engines_own_default_and_graphs_may_be_off() {
    let list = accelerator(
        "gpu",
        "tensorrt",
        &[("precision_mode", "FP32"), ("trt_cuda_graph_enable", "0")],
    );
    let providers = read(&accelerators(&list), Device::Cuda(0)).unwrap();
    assert_eq!(
        providers[0],
        provider(ProviderKind::TensorRt, &[("device_id", "0")])
    );
}

#[test]
fn wrong_accelerators_are_named_with_the_nearest_right_one() {
    let on_gpu = Device::Cuda(0);
    let cases = [
        (
            accelerator("gpu", "tensorrtt", &[]),
            on_gpu,
            "model 'm': unknown Execution Accelerator 'tensorrtt' is requested, did you mean \
             'tensorrt'?",
        ),
        (
            accelerator("cpu", "tensorrt", &[]),
            Device::Host,
            "model 'm': unknown Execution Accelerator 'tensorrt' is requested",
        ),
        (
            accelerator("gpu", "tensorrt", &[("trt_engine_cache_enabled", "1")]),
            on_gpu,
            "model 'm': execution accelerator 'tensorrt': unknown parameter \
             'trt_engine_cache_enabled', did you mean 'trt_engine_cache_enable'?",
        ),
        (
            accelerator("gpu", "tensorrt", &[("precision_mode", "FP4")]),
            on_gpu,
            "model 'm': execution accelerator 'tensorrt': parameter 'precision_mode' has value \
             'FP4', expected FP32, FP16, BF16 or INT8",
        ),
        (
            accelerator("gpu", "tensorrt", &[("trt_engine_cache_path", "../../x")]),
            on_gpu,
            "model 'm': execution accelerator 'tensorrt': parameter 'trt_engine_cache_path' has \
             value '../../x', expected a relative path inside the version's folder",
        ),
        (
            accelerator("gpu", "cuda", &[("enable_cuda_graph", "1")]),
            on_gpu,
            "model 'm': execution accelerator 'cuda': parameter 'enable_cuda_graph' needs inputs \
             and outputs at fixed addresses in the GPU's memory, which this version of Despina \
             does not have",
        ),
        (
            accelerator("gpu", "cuda", &[("cudnn_conv_algo_search", "HEURISTICS")]),
            on_gpu,
            "model 'm': execution accelerator 'cuda': parameter 'cudnn_conv_algo_search' has value \
             'HEURISTICS', expected 0 (EXHAUSTIVE), 1 (HEURISTIC), 2 (DEFAULT), did you mean \
             'HEURISTIC'?",
        ),
        (
            accelerator("gpu", "cuda", &[("gpu_mem_limit", "-1")]),
            on_gpu,
            "model 'm': execution accelerator 'cuda': parameter 'gpu_mem_limit' has value '-1', \
             expected a whole number",
        ),
    ];
    for (list, device, want) in cases {
        assert_eq!(read(&accelerators(&list), device).unwrap_err(), want);
    }
}
