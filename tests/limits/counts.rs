//! Limits on numbers: nesting, tensors, dimensions, parameters, lengths of texts, small pieces.

use bytes::Bytes;
use despina::proto::inference::{
    InferParameter, infer_parameter::ParameterChoice,
    model_infer_request::InferRequestedOutputTensor,
};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::{Connection, Limited, beyond, changed, framed, input, message, refused, within};

#[test]
pub(super) fn nesting_of_json() {
    // The document is at depth 1.
    let nested = |depth: usize| {
        let value = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        let value: Value = serde_json::from_str(&value).expect("JSON");
        changed(|request| request["unknown"] = value)
    };
    let limited = Limited::new(&["json_depth: 8"]);
    within(&limited.post("echo", &[], &nested(8)));
    let answer = limited.post("echo", &[], &nested(9));
    beyond(
        &answer,
        400,
        "nesting depth exceeds maximum allowed limit (8)",
    );
}

#[test]
pub(super) fn tensors_of_a_request() {
    let tensor = |name: &str| json!({"name": name, "shape": [1], "datatype": "UINT8", "data": [7]});
    let request = |inputs: &[&str], outputs: &[&str]| {
        let inputs: Vec<_> = inputs.iter().map(|name| tensor(name)).collect();
        let outputs: Vec<_> = outputs.iter().map(|name| json!({"name": name})).collect();
        json!({"inputs": inputs, "outputs": outputs})
            .to_string()
            .into_bytes()
    };
    let (two, three) = (["INPUT0", "INPUT1"], ["INPUT0", "INPUT1", "INPUT2"]);
    let outputs = ["OUTPUT0", "OUTPUT1", "OUTPUT2"];
    let limited = Limited::new(&["tensors_per_request: 2"]);
    within(&limited.post("pair", &[], &request(&two, &outputs[..2])));
    for body in [request(&three, &[]), request(&two, &outputs)] {
        beyond(
            &limited.post("pair", &[], &body),
            400,
            "3 exceeds the limit of 2",
        );
    }
    let call = |inputs: &[&str], outputs: &[&str]| {
        let mut message = message("pair", inputs, 1);
        let output = |name: &&str| InferRequestedOutputTensor {
            name: (*name).to_owned(),
            ..Default::default()
        };
        message.outputs = outputs.iter().map(output).collect();
        limited.call(message)
    };
    call(&two, &outputs[..2]).expect("within the limit");
    for outcome in [call(&three, &[]), call(&two, &outputs)] {
        refused(outcome, Code::InvalidArgument, "3 exceeds the limit of 2");
    }
}

#[test]
pub(super) fn dimensions_of_a_tensor() {
    let request = |shape: &[i64]| changed(|request| request["inputs"][0]["shape"] = json!(shape));
    let call = |shape: &[i64]| {
        let mut message = message("cube", &["INPUT0"], 1);
        message.inputs = vec![input("INPUT0", shape)];
        message
    };
    let limited = Limited::new(&["dims_per_tensor: 3"]);
    within(&limited.post("cube", &[], &request(&[1, 1, 1])));
    limited.call(call(&[1, 1, 1])).expect("within the limit");
    let words = "number of dimensions: 4 exceeds the limit of 3";
    beyond(&limited.post("cube", &[], &request(&[1; 4])), 400, words);
    refused(limited.call(call(&[1; 4])), Code::InvalidArgument, words);
}

#[test]
pub(super) fn parameters_of_a_request_and_of_a_tensor() {
    let named = |count: usize| (0..count).map(|index| format!("p{index}"));
    let object = |count| -> Value {
        let members = named(count).map(|name| (name, json!(1)));
        Value::Object(Map::from_iter(members))
    };
    let of_request = |count| changed(|request| request["parameters"] = object(count));
    let of_tensor = |count| changed(|request| request["inputs"][0]["parameters"] = object(count));
    let limited = Limited::new(&["parameters: 3"]);
    let words = "number of parameters: 4 exceeds the limit of 3";
    for body in [of_request(3), of_tensor(3)] {
        within(&limited.post("echo", &[], &body));
    }
    for body in [of_request(4), of_tensor(4)] {
        beyond(&limited.post("echo", &[], &body), 400, words);
    }
    let map = |count| {
        let value = InferParameter {
            parameter_choice: Some(ParameterChoice::Int64Param(1)),
        };
        named(count).map(|name| (name, value.clone())).collect()
    };
    let call = |request_count, tensor_count| {
        let mut message = message("echo", &["INPUT0"], 1);
        message.parameters = map(request_count);
        message.inputs[0].parameters = map(tensor_count);
        limited.call(message)
    };
    call(3, 3).expect("within the limit");
    for outcome in [call(4, 0), call(0, 4)] {
        refused(outcome, Code::InvalidArgument, words);
    }
}

#[test]
pub(super) fn lengths_of_texts() {
    let id = |length: usize| "i".repeat(length);
    let limited = Limited::new(&["text_byte_size: 64"]);
    let post = |length| {
        let body = changed(|request| request["id"] = json!(id(length)));
        limited.post("echo", &[], &body)
    };
    within(&post(64));
    beyond(&post(65), 400, "length of 'id': 65 exceeds the limit of 64");
    let call = |length| {
        let mut message = message("echo", &["INPUT0"], 1);
        message.id = id(length);
        limited.call(message)
    };
    call(64).expect("within the limit");
    refused(
        call(65),
        Code::InvalidArgument,
        "65 exceeds the limit of 64",
    );
}

#[test]
pub(super) fn small_pieces_of_a_body() {
    let limited = Limited::new(&["small_chunks_per_body: 8"]);
    let send = |pieces: usize| {
        let body = changed(|_| ());
        let mut message = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: d\r\n\
                            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        let (first, last) = body.split_at(body.len() - (pieces - 1));
        let single = last.chunks(1);
        for piece in std::iter::once(first).chain(single) {
            message.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            message.extend_from_slice(piece);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"0\r\n\r\n");
        let mut connection = Connection::open(limited.server.http).expect("connect");
        connection.send(&message).expect("send");
        connection.answer().expect("an answer")
    };
    within(&send(8));
    let words = "exceeds maximum of 8 non-empty chunks";
    beyond(&send(9), 400, words);
    let call = |pieces: usize| {
        let mut first = framed(0, &message("echo", &["INPUT0"], 1).encode_to_vec());
        let last = first.split_off(first.len() - (pieces - 1));
        let singles = last.iter().map(|&byte| Bytes::from(vec![byte]));
        let pieces: Vec<_> = std::iter::once(first).chain(singles).collect();
        limited.call_in_pieces(&[], pieces, false)
    };
    // The end comes as a piece of its own.
    call(7).expect("within the limit");
    refused(call(8), Code::InvalidArgument, words);
}
