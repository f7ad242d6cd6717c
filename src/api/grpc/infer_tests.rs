use super::*;
use crate::{
    error::ErrorKind,
    inference::{CorrelationId, Output},
};

fn input(name: &str, contents: Option<pb::InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "INT32".to_owned(),
        shape: vec![1],
        contents,
        ..Default::default()
    }
}

fn typed() -> pb::InferTensorContents {
    pb::InferTensorContents {
        int_contents: vec![7],
        ..Default::default()
    }
}

fn message(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> pb::ModelInferRequest {
    pb::ModelInferRequest {
        model_name: "m".to_owned(),
        inputs,
        raw_input_contents: raw,
        ..Default::default()
    }
}

fn with_parameter(name: &str, choice: ParameterChoice) -> pb::ModelInferRequest {
    let value = pb::InferParameter {
        parameter_choice: Some(choice),
    };
    pb::ModelInferRequest {
        parameters: HashMap::from([(name.to_owned(), value)]),
        ..Default::default()
    }
}

fn refusal(message: pb::ModelInferRequest) -> String {
    let error = read(message, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    error.message().to_owned()
}

fn read(message: pb::ModelInferRequest, limits: &Limits) -> Result<InferRequest> {
    super::read(message, "m", limits)
}

#[test]
fn raw_contents_are_taken_in_order_without_a_copy() {
    let (first, second) = (Bytes::from(vec![1, 0, 0, 0]), Bytes::from(vec![2, 0, 0, 0]));
    let message = message(
        vec![input("A", None), input("B", None)],
        vec![first.clone(), second.clone()],
    );
    let request = read(message, &Limits::default()).unwrap();
    for (input, sent) in request.inputs.iter().zip([first, second]) {
        let data = input.tensor.data.host().unwrap();
        assert_eq!(data.as_ptr(), sent.as_ptr());
    }
}

#[test]
fn typed_contents_become_bytes() {
    let request = read(
        message(vec![input("A", Some(typed()))], vec![]),
        &Limits::default(),
    );
    let request = request.unwrap();
    assert_eq!(request.inputs[0].tensor.data.host().unwrap(), [7, 0, 0, 0]);
}

#[test]
fn raw_and_typed_contents_do_not_mix() {
    let both = message(vec![input("A", Some(typed()))], vec![Bytes::from("1234")]);
    assert!(refusal(both).contains("contents field must not be specified"));
}

#[test]
fn missing_contents_are_named_as_triton_names_them() {
    let none = "unable to find data for input tensor 'B' for model 'm' in request.";
    let raw = message(
        vec![input("A", None), input("B", None)],
        vec![Bytes::from("1234")],
    );
    assert_eq!(refusal(raw), none);
    let typed = message(vec![input("A", Some(typed())), input("B", None)], vec![]);
    assert_eq!(refusal(typed), none);
}

#[test]
fn duplicates_and_unknown_datatypes_are_refused() {
    let twice = message(
        vec![input("A", None), input("A", None)],
        vec![Bytes::new(); 2],
    );
    assert_eq!(refusal(twice), "input 'A' already exists in request");
    let mut unknown = input("A", None);
    unknown.datatype = "FP128".to_owned();
    let unknown = message(vec![unknown], vec![Bytes::new()]);
    assert_eq!(refusal(unknown), "unknown datatype 'FP128' of input 'A'");
    let output = || InferRequestedOutputTensor {
        name: "O".to_owned(),
        ..Default::default()
    };
    let outputs = pb::ModelInferRequest {
        outputs: vec![output(), output()],
        ..Default::default()
    };
    assert_eq!(refusal(outputs), "output 'O' already exists in request");
}

#[test]
fn limits_hold_before_anything_is_converted() {
    let limits = Limits {
        tensors_per_request: 1,
        dims_per_tensor: 1,
        ..Limits::default()
    };
    let two = message(
        vec![input("A", None), input("B", None)],
        vec![Bytes::new(); 2],
    );
    assert!(read(two, &limits).is_err());
    let mut deep = input("A", Some(typed()));
    deep.shape = vec![1, 1];
    assert!(read(message(vec![deep], vec![]), &limits).is_err());
}

#[test]
fn parameters_are_mapped_by_their_type() {
    let read = |name: &str, choice| read(with_parameter(name, choice), &Limits::default());
    let sequence = read("sequence_id", ParameterChoice::Uint64Param(u64::MAX)).unwrap();
    let id = sequence.options.correlation.id;
    assert_eq!(id, CorrelationId::Number(u64::MAX));
    let custom = read("x", ParameterChoice::Int64Param(-3)).unwrap();
    assert_eq!(
        custom.options.custom,
        [("x".to_owned(), Parameter::Int(-3))]
    );
    assert!(read(FINAL_RESPONSE, ParameterChoice::BoolParam(true)).is_ok());
    for (name, choice) in [
        ("x", ParameterChoice::Uint64Param(1)),
        (FINAL_RESPONSE, ParameterChoice::Int64Param(1)),
        ("triton_x", ParameterChoice::BoolParam(true)),
        ("priority", ParameterChoice::Int64Param(-1)),
    ] {
        assert!(read(name, choice).is_err(), "{name}");
    }
}

fn with_classification(choice: ParameterChoice) -> pb::ModelInferRequest {
    let parameters = with_parameter("classification", choice).parameters;
    let output = |name: &str, parameters| InferRequestedOutputTensor {
        name: name.to_owned(),
        parameters,
    };
    pb::ModelInferRequest {
        outputs: vec![output("A", HashMap::new()), output("B", parameters)],
        ..Default::default()
    }
}

#[test]
fn classification_is_of_the_output_that_asks_for_it() {
    let message = with_classification(ParameterChoice::Int64Param(3));
    let mut want = Classification::default();
    want.push(1, NonZeroUsize::new(3).unwrap());
    let request = read(message, &Limits::default()).unwrap();
    assert_eq!(request.classification, want);
}

#[test]
fn classification_takes_a_positive_integer_in_tritons_words() {
    for count in [0, -1, i64::MIN] {
        assert_eq!(
            refusal(with_classification(ParameterChoice::Int64Param(count))),
            "invalid value for 'classification' parameter, expected >= 0"
        );
    }
    for value in [
        ParameterChoice::StringParam("1".to_owned()),
        ParameterChoice::Uint64Param(1),
    ] {
        assert_eq!(
            refusal(with_classification(value)),
            "invalid value type for 'classification' parameter, expected int64_param"
        );
    }
}

#[test]
fn inputs_in_shared_memory_take_no_raw_entry() {
    let place = |region: &str, byte_size| {
        let value = |choice| pb::InferParameter {
            parameter_choice: Some(choice),
        };
        let region = ParameterChoice::StringParam(region.to_owned());
        HashMap::from([
            ("shared_memory_region".to_owned(), value(region)),
            (
                "shared_memory_byte_size".to_owned(),
                value(ParameterChoice::Int64Param(byte_size)),
            ),
        ])
    };
    let mut shared = input("A", None);
    shared.parameters = place("r", 4);
    let output = InferRequestedOutputTensor {
        name: "O".to_owned(),
        parameters: place("s", 8),
    };
    let with = |shared: &InferInputTensor| {
        let mut message = message(
            vec![shared.clone(), input("B", None)],
            vec![Bytes::from("1234")],
        );
        message.outputs.push(output.clone());
        message
    };
    let request = read(with(&shared), &Limits::default()).unwrap();
    let reference = |region: &str, byte_size| Reference {
        region: region.to_owned(),
        offset: 0,
        byte_size,
    };
    assert_eq!(request.shared.inputs, [(0, reference("r", 4))]);
    assert_eq!(request.shared.outputs, [(0, reference("s", 8))]);
    assert_eq!(request.inputs[1].tensor.data.host().unwrap(), b"1234");
    let mut typed_too = shared.clone();
    typed_too.contents = Some(typed());
    assert!(refusal(with(&typed_too)).contains("unexpected 'content' provided"));
    let mut negative = shared;
    negative.parameters = place("r", -1);
    assert!(refusal(with(&negative)).contains("shared_memory_byte_size"));
}

#[test]
fn answers_hold_one_raw_entry_for_each_output() {
    let output = |name: &str, bytes: &'static [u8]| Output {
        index: 0,
        name: name.into(),
        tensor: Tensor {
            datatype: Datatype::Uint8,
            shape: Shape::new([i64::try_from(bytes.len()).unwrap()]),
            data: Buffer::Host(Bytes::from_static(bytes)),
        },
    };
    let response = Response {
        outputs: [output("B", b"xy"), output("A", b"")].into_iter().collect(),
        parameters: vec![("p".to_owned(), Parameter::Bool(true))],
    };
    let message = write("7".to_owned(), "m", 3, response, &StoredOutputs::default()).unwrap();
    let heading = (&*message.id, &*message.model_name, &*message.model_version);
    assert_eq!(heading, ("7", "m", "3"));
    assert_eq!(message.raw_output_contents, [&b"xy"[..], b""]);
    let outputs: Vec<_> = message
        .outputs
        .iter()
        .map(|output| (&*output.name, &*output.datatype, output.shape.as_slice()))
        .collect();
    assert_eq!(outputs, [("B", "UINT8", &[2][..]), ("A", "UINT8", &[0])]);
    assert!(
        message
            .outputs
            .iter()
            .all(|output| output.contents.is_none())
    );
    let choice = &message.parameters["p"].parameter_choice;
    assert_eq!(*choice, Some(ParameterChoice::BoolParam(true)));
}
