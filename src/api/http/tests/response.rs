//! The answer's JSON, and that reading what was written gives back the same bytes.

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    admission::Limits,
    api::{
        OutputFormats,
        http::{
            answer, bind_tensors,
            json_response::{Heading, Written, push_string, write},
            parse_infer_request,
        },
        shared_memory::StoredOutputs,
    },
    error::{ErrorKind, Result},
    inference::{Output, Parameter, Response},
    tensor::{Datatype, Shape, Tensor, push_element},
};

fn output(name: &str, datatype: Datatype, dims: &[i64], bytes: Vec<u8>) -> Output {
    Output {
        index: 0,
        name: name.into(),
        tensor: Tensor {
            datatype,
            shape: dims.into(),
            data: bytes.into(),
        },
    }
}

fn written(outputs: Vec<Output>, binary: &[bool]) -> Result<Written> {
    let response = Response {
        outputs: outputs.into(),
        parameters: Vec::new(),
    };
    let heading = Heading {
        id: "",
        model: "m",
        version: 1,
    };
    let formats = OutputFormats {
        binary_by_default: false,
        listed: binary.into(),
    };
    write(
        heading,
        &response,
        &formats,
        &StoredOutputs::default(),
        usize::MAX,
    )
}

#[test]
fn writes_the_keys_in_tritons_order() {
    let response = Response {
        outputs: [
            output(
                "A",
                Datatype::Fp32,
                &[1, 2],
                [1.5f32, -0.0].map(f32::to_le_bytes).concat(),
            ),
            output("B", Datatype::Uint8, &[2], vec![1, 2]),
        ]
        .into_iter()
        .collect(),
        parameters: vec![
            ("s".to_owned(), Parameter::String("\"".to_owned())),
            ("d".to_owned(), Parameter::Double(0.5)),
            ("b".to_owned(), Parameter::Bool(true)),
            ("i".to_owned(), Parameter::Int(-1)),
        ],
    };
    let heading = Heading {
        id: "7",
        model: "m",
        version: 3,
    };
    let formats = OutputFormats {
        binary_by_default: true,
        listed: [false].as_slice().into(),
    };
    let written = write(
        heading,
        &response,
        &formats,
        &StoredOutputs::default(),
        usize::MAX,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(written.json).unwrap(),
        "{\"id\":\"7\",\"model_name\":\"m\",\"model_version\":\"3\",\
         \"parameters\":{\"s\":\"\\\"\",\"d\":0.5,\"b\":true,\"i\":-1},\"outputs\":[\
         {\"name\":\"A\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1.5,-0.0]},\
         {\"name\":\"B\",\"datatype\":\"UINT8\",\"shape\":[2],\
         \"parameters\":{\"binary_data_size\":2}}]}"
    );
    assert_eq!(written.tensors.as_slice(), [Bytes::from_static(&[1, 2])]);
}

#[test]
fn floats_without_a_json_form_are_written_as_triton_writes_them() {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.1];
    let bytes = values.map(f64::to_le_bytes).concat();
    let written = written(vec![output("A", Datatype::Fp64, &[5], bytes)], &[]).unwrap();
    let json = String::from_utf8(written.json).unwrap();
    assert!(
        json.ends_with("\"data\":[NaN,Infinity,-Infinity,1e300,0.1]}]}"),
        "{json}"
    );
}

#[test]
fn strings_that_are_not_utf8_must_be_asked_for_as_binary_data() {
    let mut bytes = Vec::new();
    push_element(&mut bytes, b"\xff").unwrap();
    let outputs = || vec![output("A", Datatype::Bytes, &[1], bytes.clone())];
    let error = written(outputs(), &[false]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("'binary_data': true"));
    assert!(written(outputs(), &[true]).is_ok());
}

#[test]
fn only_binary_bytes_make_an_answer_binary() {
    let header = |binary| {
        let outputs = vec![output("A", Datatype::Uint8, &[0], vec![])];
        let written = written(outputs, &[binary]).unwrap();
        let json = String::from_utf8(written.json.clone()).unwrap();
        (json, answer::tensors(written.json, written.tensors))
    };
    let (json, response) = header(true);
    assert!(json.contains("\"binary_data_size\":0"));
    assert_eq!(response.headers()["content-type"], "application/json");
    let response = answer::tensors(b"{}".to_vec(), [Bytes::from_static(b"xy")]);
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    assert_eq!(response.headers()["inference-header-content-length"], "2");
    assert_eq!(response.body().byte_size(), 4);
}

/// Writes a tensor as JSON and reads the result back as an input.
fn round_trip(datatype: Datatype, count: usize, bytes: Vec<u8>) -> Vec<u8> {
    let dims = [i64::try_from(count).unwrap()];
    let written = written(vec![output("A", datatype, &dims, bytes)], &[]).unwrap();
    let json = String::from_utf8(written.json).unwrap();
    let request = json.replacen("\"outputs\":", "\"inputs\":", 1);
    let document = parse_infer_request(request.as_bytes(), &Limits::default()).unwrap();
    let request = bind_tensors(document, Bytes::new(), "m").unwrap();
    assert_eq!(request.inputs[0].tensor.shape, Shape::new(dims));
    request.inputs[0].tensor.data.host().unwrap().to_vec()
}

/// Whether an element of a floating-point datatype is a NaN, of which only one is written.
fn is_nan(datatype: Datatype, element: &[u8]) -> bool {
    match (datatype, element) {
        (Datatype::Fp16, &[a, b]) => half::f16::from_le_bytes([a, b]).is_nan(),
        (Datatype::Bf16, &[a, b]) => half::bf16::from_le_bytes([a, b]).is_nan(),
        (Datatype::Fp32, element) => f32::from_le_bytes(element.try_into().unwrap()).is_nan(),
        (Datatype::Fp64, element) => f64::from_le_bytes(element.try_into().unwrap()).is_nan(),
        _ => false,
    }
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same_bytes(
        datatype in prop::sample::select(Datatype::ALL.to_vec()),
        mut bytes in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        if let Some(size) = datatype.element_byte_size() {
            bytes.truncate(bytes.len() / size * size);
            if datatype == Datatype::Bool {
                bytes.iter_mut().for_each(|byte| *byte &= 1);
            }
            let count = bytes.len() / size;
            let read = round_trip(datatype, count, bytes.clone());
            prop_assert_eq!(read.len(), bytes.len());
            for (read, sent) in read.chunks(size).zip(bytes.chunks(size)) {
                prop_assert!(
                    read == sent || (is_nan(datatype, read) && is_nan(datatype, sent)),
                    "{}: {:?} became {:?}", datatype, sent, read
                );
            }
        }
    }

    #[test]
    fn strings_survive_the_round_trip(texts in prop::collection::vec(".*", 0..8)) {
        let mut bytes = Vec::new();
        for text in &texts {
            push_element(&mut bytes, text.as_bytes()).unwrap();
        }
        prop_assert_eq!(round_trip(Datatype::Bytes, texts.len(), bytes.clone()), bytes);
    }

    #[test]
    fn written_strings_are_json(text in any::<String>()) {
        let mut json = Vec::new();
        push_string(&mut json, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }
}
