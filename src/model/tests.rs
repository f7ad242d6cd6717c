use std::{collections::BTreeMap, fs, sync::Arc};

use smallvec::smallvec;

use super::{LoadRequest, Loader, LoaderConfig, check::check, lease::Leases};
use crate::{
    backend::{BackendRegistry, identity::Identity, simulated::Simulated},
    error::ErrorKind,
    inference::{Input, ModelName, Request, ResponseReceiver, response_channel},
    model_config::{self, InputSpec, ModelConfig, OutputSpec, Scheduling, VersionPolicy},
    tensor::{Buffer, Datatype, Shape, Tensor},
};

fn config() -> ModelConfig {
    let input = |name: &str, datatype, dims: &[i64]| InputSpec {
        name: name.into(),
        datatype,
        dims: Shape::from(dims),
        reshape: None,
        optional: false,
    };
    let output = |name: &str| OutputSpec {
        name: name.into(),
        datatype: Datatype::Fp32,
        dims: Shape::new([2]),
        reshape: None,
        label_filename: None,
    };
    ModelConfig {
        proto: crate::proto::inference::ModelConfig::default(),
        name: "m".to_owned(),
        backend: "identity".to_owned(),
        platform: String::new(),
        version_policy: VersionPolicy::All,
        max_batch_size: 8,
        inputs: vec![
            input("A", Datatype::Fp32, &[2]),
            input("B", Datatype::Bytes, &[-1]),
        ],
        outputs: vec![output("X"), output("Y")],
        scheduling: Scheduling::Default,
        instance_groups: Vec::new(),
        parameters: BTreeMap::new(),
        warmup: Vec::new(),
        decoupled: false,
    }
}

fn input(name: &str, datatype: Datatype, shape: &[i64], byte_size: usize) -> Input {
    Input::new(
        name,
        Tensor {
            datatype,
            shape: Shape::from(shape),
            data: Buffer::from(vec![0; byte_size]),
        },
    )
}

fn request(inputs: Vec<Input>) -> (Request, ResponseReceiver) {
    let (sender, receiver) = response_channel();
    (Request::new(inputs.into(), sender), receiver)
}

fn good() -> Vec<Input> {
    vec![
        input("B", Datatype::Bytes, &[3, 1], 12),
        input("A", Datatype::Fp32, &[3, 2], 24),
    ]
}

#[test]
fn a_good_request_is_put_in_the_models_order() {
    let (mut request, _receiver) = request(good());
    request.outputs = Some(vec!["Y".to_owned(), "X".to_owned()]);
    check(&mut request, &config()).unwrap();
    let order: Vec<_> = request
        .inputs
        .iter()
        .map(|input| (input.index, input.name.as_str()))
        .collect();
    assert_eq!(order, [(0, "A"), (1, "B")]);
    assert_eq!(request.batch_size, 3);
    assert_eq!(request.wanted.as_slice(), [1, 0]);
}

#[test]
fn wrong_requests_are_refused_in_tritons_words() {
    let a = |shape: &[i64], bytes| input("A", Datatype::Fp32, shape, bytes);
    let b = || input("B", Datatype::Bytes, &[3, 1], 12);
    let cases = [
        (
            vec![a(&[3, 2], 24)],
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['A'], but missing required input(s) ['B']. Please provide all required input(s).",
        ),
        (
            vec![a(&[3, 2], 24), b(), input("C", Datatype::Fp32, &[3], 12)],
            "unexpected inference input 'C' for model 'm'",
        ),
        (
            vec![a(&[3, 2], 24), b(), b()],
            "input 'B' already exists in request",
        ),
        (
            vec![a(&[3, 3], 36), b()],
            "unexpected shape for input 'A' for model 'm'. Expected [-1,2], got [3,3].",
        ),
        (
            vec![a(&[3], 12), b()],
            "unexpected shape for input 'A' for model 'm'. Expected [-1,2], got [3].",
        ),
        (
            vec![a(&[9, 2], 72), input("B", Datatype::Bytes, &[9, 1], 36)],
            "inference request batch-size must be <= 8 for 'm'",
        ),
        (
            vec![a(&[0, 2], 0), input("B", Datatype::Bytes, &[0, 1], 0)],
            "inference request batch-size must be >= 1 for 'm'",
        ),
        (
            vec![a(&[-1, 2], 8), input("B", Datatype::Bytes, &[-1, 1], 4)],
            "inference request batch-size must be >= 1 for 'm'",
        ),
        (
            vec![a(&[2, 2], 16), b()],
            "batch size does not match other inputs for 'm'",
        ),
        (
            vec![a(&[3, 2], 20), b()],
            "input byte size mismatch for input 'A' for model 'm'. Expected 24, got 20",
        ),
        (
            vec![input("A", Datatype::Int32, &[3, 2], 24), b()],
            "inference input 'A' data-type is 'INT32', but model 'm' expects 'FP32'",
        ),
        (
            vec![a(&[3, 2], 24), input("B", Datatype::Bytes, &[3, 1], 8)],
            "unexpected number of string elements 2 for inference input 'B'",
        ),
        (
            vec![a(&[3, 2], 24), input("B", Datatype::Bytes, &[3, 1], 11)],
            "incomplete string data for inference input 'B'",
        ),
        (
            vec![
                a(&[3, 2], 24),
                input("B", Datatype::Bytes, &[3, i64::MAX], 12),
            ],
            "more elements than can be counted",
        ),
    ];
    for (inputs, expected) in cases {
        let (mut request, _receiver) = request(inputs);
        let error = check(&mut request, &config()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(
            error.message().starts_with("[request id: <id_unknown>] "),
            "{error}"
        );
        assert!(
            error.message().contains(expected),
            "{error}\nshould contain\n{expected}"
        );
    }
}

#[test]
fn with_optional_inputs_their_number_may_vary() {
    let mut config = config();
    config.inputs[1].optional = true;
    let inputs = vec![input("A", Datatype::Fp32, &[3, 2], 24)];
    assert!(check(&mut request(inputs).0, &config).is_ok());
    let inputs = vec![input("B", Datatype::Bytes, &[3, 1], 12)];
    let error = check(&mut request(inputs).0, &config).unwrap_err();
    let want = "expected number of inputs between 1 and 2 but got 1 inputs for model 'm'";
    assert!(error.message().contains(want), "{error}");
}

#[test]
fn unknown_and_repeated_outputs_are_refused() {
    for (outputs, expected) in [
        (&["Z"][..], "unexpected inference output 'Z' for model 'm'"),
        (
            &["X", "X"],
            "[request id: 7] output 'X' already exists in request",
        ),
    ] {
        let (mut request, _receiver) = request(good());
        request.outputs = Some(outputs.iter().map(|&name| name.to_owned()).collect());
        request.id = "7".to_owned();
        let error = check(&mut request, &config()).unwrap_err();
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn the_engine_sees_the_reshaped_input() {
    let mut config = config();
    config.inputs.truncate(1);
    config.inputs[0].reshape = Some(Shape::new([1, 2, 1]));
    let (mut request, _receiver) = request(vec![input("A", Datatype::Fp32, &[3, 2], 24)]);
    check(&mut request, &config).unwrap();
    assert_eq!(request.inputs[0].tensor.shape, Shape::new([3, 1, 2, 1]));
}

#[test]
fn no_lease_is_given_once_closed() {
    let leases = Arc::new(Leases::default());
    let guard = leases.acquire().unwrap();
    leases.close();
    assert!(leases.acquire().is_none());
    assert_eq!(leases.count(), 1);
    drop(guard);
    leases.wait_drained();
    assert_eq!(leases.count(), 0);
}

const IDENTITY: &str = r#"
    backend: "identity"
    max_batch_size: 4
    input { name: "IN" data_type: TYPE_INT32 dims: 2 }
    output { name: "OUT" data_type: TYPE_INT32 dims: 2 }
    instance_group { kind: KIND_CPU count: 2 }
    dynamic_batching { }
"#;

fn load_request(folder: &std::path::Path, config: &str) -> LoadRequest {
    fs::create_dir_all(folder.join("1")).unwrap();
    LoadRequest {
        name: ModelName::new("m").unwrap(),
        version: 1,
        model_folder: folder.to_owned().into(),
        config: model_config::from_pbtxt(config, "config.pbtxt").unwrap(),
    }
}

fn loader() -> Loader {
    let backends = BackendRegistry::default()
        .with(Arc::new(Identity))
        .with(Arc::new(Simulated));
    Loader::new(backends, LoaderConfig::default())
}

#[test]
fn a_loaded_model_answers_and_ends_when_unloaded() {
    let folder = tempfile::tempdir().unwrap();
    let model = loader()
        .load(&load_request(folder.path(), IDENTITY))
        .unwrap();
    let lease = model.lease().unwrap();
    let tensor = Tensor {
        datatype: Datatype::Int32,
        shape: Shape::new([1, 2]),
        data: Buffer::from(vec![1, 0, 0, 0, 2, 0, 0, 0]),
    };
    let (sender, receiver) = response_channel();
    lease
        .submit(Request::new(smallvec![Input::new("IN", tensor)], sender))
        .unwrap();
    let response = receiver.wait().unwrap();
    assert_eq!(&*response.outputs[0].name, "OUT");
    assert_eq!(
        response.outputs[0].tensor.data.host().unwrap(),
        [1, 0, 0, 0, 2, 0, 0, 0]
    );
    assert_eq!(model.statistics().snapshot().success.count, 1);
    drop(lease);
    model.unload();
    assert!(model.lease().is_none());
}

#[test]
fn an_unknown_backend_or_a_broken_warmup_fails_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = IDENTITY.replace("identity", "quantum");
    let error = loader()
        .load(&load_request(folder.path(), &unknown))
        .unwrap_err();
    assert!(
        error.message().contains("unable to find backend 'quantum'"),
        "{error}"
    );
    assert!(error.message().contains("identity, simulated"), "{error}");

    let warmup = format!(
        "{IDENTITY} model_warmup {{ name: \"w\" batch_size: 1 inputs {{ key: \"IN\" value: \
         {{ data_type: TYPE_INT32 dims: 2 input_data_file: \"absent\" }} }} }}"
    );
    let error = loader()
        .load(&load_request(folder.path(), &warmup))
        .unwrap_err();
    assert!(error.message().contains("warmup sample 'w'"), "{error}");
}

#[test]
fn labels_are_read_with_the_model_and_their_absence_fails_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let output = IDENTITY.find("output").unwrap();
    let name = output + IDENTITY[output..].find("name").unwrap();
    let mut labelled = IDENTITY.to_owned();
    labelled.insert_str(name, "label_filename: \"names/labels.txt\" ");
    let request = load_request(folder.path(), &labelled);
    let error = loader().load(&request).unwrap_err();
    assert!(
        error.message().contains("unable to read label file"),
        "{error}"
    );
    assert!(error.message().contains("names/labels.txt"), "{error}");

    fs::create_dir(folder.path().join("names")).unwrap();
    fs::write(folder.path().join("names/labels.txt"), "cat\ndog\n").unwrap();
    let model = loader().load(&request).unwrap();
    let labels = model.labels(0).unwrap();
    assert_eq!(labels.label(1), Some(&b"dog"[..]));
    assert!(model.labels(1).is_none());
    model.unload();
}
