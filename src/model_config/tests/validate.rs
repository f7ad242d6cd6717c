use super::*;

pub(super) const BASE: &str = "name: 'm' backend: 'onnxruntime' platform: 'onnxruntime_onnx'
    max_batch_size: 8
    input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 4 ] }
    output { name: 'y' data_type: TYPE_STRING dims: 1 label_filename: 'labels.txt' }";

pub(super) fn normalise(extra: &str) -> Result<ModelConfig, String> {
    normalise_on(extra, &[])
}

pub(super) fn normalise_on(extra: &str, gpus: &[u32]) -> Result<ModelConfig, String> {
    let environment = Environment {
        gpus: gpus.to_vec(),
        ..Environment::default()
    };
    ModelConfig::from_proto(pbtxt(&format!("{BASE}\n{extra}")), &environment)
        .map_err(|error| error.to_string())
}

#[test]
fn defaults_are_filled_in_as_triton_shows_them() {
    let config = normalise("dynamic_batching {}").unwrap();
    let want = pbtxt(&format!(
        "{BASE}
        version_policy {{ latest {{ num_versions: 1 }} }}
        dynamic_batching {{ preferred_batch_size: 8 }}
        instance_group {{ name: 'm' kind: KIND_CPU count: 2 }}
        optimization {{
          input_pinned_memory {{ enable: true }} output_pinned_memory {{ enable: true }}
        }}"
    ));
    assert_eq!(config.proto, want);
    assert_eq!(config.max_batch_size, 8);
    assert_eq!(config.version_policy, VersionPolicy::Latest(1));
    assert_eq!(
        config.inputs,
        [InputSpec {
            name: "x".into(),
            datatype: Datatype::Fp32,
            dims: Shape::new([-1, 4]),
            reshape: None,
            optional: false,
        }]
    );
    assert_eq!(
        config.outputs,
        [OutputSpec {
            name: "y".into(),
            datatype: Datatype::Bytes,
            dims: Shape::new([1]),
            reshape: None,
            label_filename: Some("labels.txt".to_owned()),
        }]
    );
    let dynamic = DynamicBatching {
        preferred_batch_sizes: vec![8],
        ..DynamicBatching::default()
    };
    assert_eq!(config.scheduling, Scheduling::Dynamic(dynamic));
}

#[test]
fn normalising_twice_changes_nothing() {
    let once =
        normalise("dynamic_batching {} instance_group [ {}, { kind: KIND_MODEL } ]").unwrap();
    let twice = ModelConfig::from_proto(once.proto.clone(), &Environment::default()).unwrap();
    assert_eq!(twice.proto, once.proto);
}

#[test]
fn rules_are_told_with_field_and_value() {
    let cases = [
        (
            "input { data_type: TYPE_FP32 dims: 1 }",
            "model input must specify 'name' for m",
        ),
        (
            "input { name: 'x' }",
            "model input 'x' is given more than once for m",
        ),
        (
            "output { name: 'z' dims: 1 }",
            "model output 'z' must specify 'data_type' for m",
        ),
        (
            "output { name: 'z' data_type: 99 dims: 1 }",
            "model output 'z' must specify 'data_type' for m",
        ),
        (
            "output { name: 'z' data_type: TYPE_FP32 }",
            "model output 'z' must specify 'dims' for m",
        ),
        (
            "output { name: 'z' data_type: TYPE_FP32 dims: [1, 0] }",
            "model output 'z' dimension must be integer >= 1, or -1 to indicate a variable-size \
             dimension, not 0 for m",
        ),
        (
            "output { name: 'z' data_type: TYPE_FP32 dims: 1 reshape { shape: -2 } }",
            "model output 'z' reshape dimensions must be integer >= 1, or -1 to indicate a \
             variable-size dimension, not -2 for m",
        ),
        (
            "output { name: 'z' data_type: TYPE_FP32 dims: 6 reshape { shape: [2, 2] } }",
            "model output 'z' has different size for dims and reshape: [6] and [2,2] for m",
        ),
        (
            "input { name: 'z' data_type: TYPE_FP32 dims: [1, 1] format: FORMAT_NHWC }",
            "model input NHWC/NCHW require 3 dims for m",
        ),
        (
            "dynamic_batching { preferred_batch_size: 9 }",
            "dynamic batching preferred size must be <= max batch size, 9 is more than 8, for m",
        ),
        (
            "dynamic_batching { preferred_batch_size: [4, 0] }",
            "dynamic batching preferred size must be positive, not 0, for m",
        ),
        (
            "dynamic_batching { priority_levels: 1025 default_priority_level: 1 }",
            "priority levels must be <= 1024, not 1025, for m",
        ),
        (
            "instance_group { kind: KIND_CPU count: 1025 }",
            "model m asks for 1025 instances, the limit is 1024",
        ),
        (
            "dynamic_batching { priority_levels: 2 }",
            "default priority level must be in range [1, 2], not 0, for m",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 1
               priority_queue_policy { key: 3 value {} } }",
            "priority queue policy must have priority level in range [1, 2], not 3, for m",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 1
               preserve_ordering: true }",
            "Only one priority level is allowed when 'preserve_ordering' is true for m",
        ),
        (
            "dynamic_batching { preserve_ordering: true
               default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1 } }",
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for \
             m",
        ),
        (
            "instance_group { profile: '1' }",
            "instance group m_0 of model m specifies profile field which is only supported for \
             TensorRT models",
        ),
        (
            "output { name: 'z' data_type: TYPE_FP32 dims: 1 label_filename: 'a/../../b' }",
            "'label_filename' 'a/../../b' must be a relative path inside the model's folder for m",
        ),
        (
            "default_model_filename: '/etc/passwd'",
            "'default_model_filename' '/etc/passwd' must be a relative path inside the model's \
             folder for m",
        ),
        (
            "model_warmup { name: 'w' batch_size: 9 }",
            "model_warmup 'w': 'batch_size' 9 is more than the 8 that the model takes for m",
        ),
        (
            "model_warmup { name: 'w' inputs { key: 'z' value {} } }",
            "model_warmup 'w': unexpected inference input 'z', allowed inputs are: x for m",
        ),
        (
            "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_FP32 dims: [-1, 4] \
             zero_data: true } } }",
            "model_warmup 'w': input 'x' must have fixed 'dims' >= 1, not -1 for m",
        ),
        (
            "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_FP32 } } }",
            "model_warmup 'w': input 'x' must specify 'zero_data', 'random_data' or \
             'input_data_file' for m",
        ),
        (
            "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_FP32 \
             input_data_file: '../x' } } }",
            "model_warmup 'w': input 'x' has 'input_data_file' '../x', which must be a relative \
             path inside the model's 'warmup' folder for m",
        ),
        (
            "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_FP64 \
             dims: [4611686018427387904, 4] zero_data: true } } }",
            "model_warmup 'w': input 'x' has 'dims' [4611686018427387904,4], which are more than \
             can be addressed for m",
        ),
    ];
    for (extra, want) in cases {
        assert_eq!(normalise(extra).unwrap_err(), want, "{extra}");
    }
}

#[test]
fn names_and_backends_are_told_apart() {
    let cases = [
        ("", "model configuration must specify 'name'"),
        ("name: 'm'", "unexpected platform type '' for m"),
        (
            "name: 'm' platform: 'ensemble'",
            "platform 'ensemble' is not supported by this version of Despina",
        ),
        (
            "name: 'm' backend: 'onnxruntime' platform: 'tensorrt_plan'",
            "unexpected 'platform' and 'backend' pair, got:tensorrt_plan, onnxruntime",
        ),
        (
            "name: 'm' backend: 'identity' max_batch_size: -1",
            "'max_batch_size' must be non-negative value for m, not -1",
        ),
        (
            "name: 'm' backend: 'identity' dynamic_batching { preferred_batch_size: 1 }",
            "dynamic batching preferred size must be <= max batch size, 1 is more than 0, for m",
        ),
        (
            "name: 'm' backend: 'identity'
             input { name: 'x' data_type: TYPE_FP32 dims: 1 reshape {} }",
            "model input 'x' cannot have empty reshape for non-batching model as scalar tensors are \
             not supported for m",
        ),
    ];
    for (text, want) in cases {
        let got = ModelConfig::from_proto(pbtxt(text), &Environment::default());
        assert_eq!(got.unwrap_err().to_string(), want, "{text}");
    }
    let free = "name: 'm' backend: 'identity' platform: 'whatever' dynamic_batching {}";
    let config = ModelConfig::from_proto(pbtxt(free), &Environment::default()).unwrap();
    let Scheduling::Dynamic(batching) = config.scheduling else {
        panic!("not dynamic");
    };
    assert_eq!(batching.preferred_batch_sizes, [1]);
}

#[test]
fn a_response_cache_is_no_reason_not_to_serve_a_model_that_triton_serves() {
    assert!(normalise("response_cache { enable: true }").is_ok());
    let decoupled = "response_cache { enable: true } model_transaction_policy { decoupled: true }";
    let error = normalise(decoupled).unwrap_err();
    assert!(error.starts_with("Response Cache does not currently support model"));
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    let cases = [
        ("sequence_batching {}", "sequence_batching"),
        ("ensemble_scheduling {}", "ensemble_scheduling"),
        ("batch_input {}", "batch_input"),
        ("batch_output {}", "batch_output"),
        (
            "model_repository_agents { agents {} }",
            "model_repository_agents",
        ),
        (
            "model_operations { op_library_filename: 'a.so' }",
            "model_operations",
        ),
    ];
    for (extra, field) in cases {
        assert_eq!(
            normalise(extra).unwrap_err(),
            format!("'{field}' is not supported by this version of Despina")
        );
    }
    for (field, want) in [
        (
            "allow_ragged_batch",
            "'allow_ragged_batch' is not supported by this version of Despina for m",
        ),
        (
            "is_shape_tensor",
            "shape tensors are only supported for the TensorRT platform for m",
        ),
        (
            "is_non_linear_format_io",
            "Non-linear IO format is only supported for the TensorRT platform for m",
        ),
    ] {
        let input = format!("input {{ name: 'z' data_type: TYPE_FP32 dims: 1 {field}: true }}");
        assert_eq!(normalise(&input).unwrap_err(), want);
    }
}

#[test]
fn the_transaction_policy_says_whether_a_model_is_decoupled() {
    let decoupled = |extra| normalise(extra).unwrap().decoupled;
    assert!(decoupled("model_transaction_policy { decoupled: true }"));
    assert!(!decoupled("model_transaction_policy {}") && !decoupled(""));
}

#[test]
fn what_does_no_harm_on_the_cpu_is_kept() {
    let kept = "optimization { graph { level: -1 } cuda { graphs: true } eager_batching: true }
        metric_tags { key: 'a' value: 'b' } model_metrics {} cc_model_filenames { key: '9.0' value: 'a' }
        model_transaction_policy {} response_cache {} model_repository_agents {} model_operations {}
        instance_group { host_policy: 'cpu' rate_limiter { priority: 2 } }
        parameters { key: 'intra_op_thread_count' value { string_value: '2' } }";
    let config = normalise(kept).unwrap();
    assert_eq!(config.parameters["intra_op_thread_count"], "2");
    assert_eq!(config.proto.metric_tags["a"], "b");
    assert!(config.proto.optimization.unwrap().eager_batching);
    assert_eq!(config.proto.instance_group[0].host_policy, "cpu");
}
