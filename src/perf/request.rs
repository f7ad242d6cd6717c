//! Requests, made beforehand: the bytes of every sample in either protocol.

use std::collections::HashMap;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    data::{Sample, Tensor, json_elements},
    model::Model,
    sequence::{ID_WIDTH, Marks, PLACEHOLDER, SWITCH_WIDTH},
    shared::{Placed, Placement},
    wire::Message,
};
use crate::proto::inference::{
    InferParameter, ModelInferRequest,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};

/// How tensors travel in requests and answers over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TensorFormat {
    /// As bytes behind the JSON.
    #[default]
    Binary,
    /// In the JSON.
    Json,
}

/// A parameter that requests carry to the backend.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `string`
    Text(String),
}

/// What requests have besides their tensors.
#[derive(Clone, Debug, Default)]
pub struct RequestSettings {
    /// Over HTTP.
    pub input_format: TensorFormat,
    /// Over HTTP.
    pub output_format: TensorFormat,
    /// Header fields; over gRPC, metadata.
    pub headers: Vec<(String, String)>,
    /// Parameters for the backend.
    pub parameters: Vec<(String, ParameterValue)>,
}

/// A whole HTTP request.
pub(super) fn http(
    host: &str,
    model: &Model,
    sample: &Sample,
    placement: Option<&Placement>,
    settings: &RequestSettings,
) -> Result<Message> {
    let mut binary: Vec<&Bytes> = Vec::new();
    let mut inputs = Vec::new();
    for (index, tensor) in sample.inputs.iter().enumerate() {
        let mut input = json!({
            "name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype.name(),
        });
        if let Some(placed) = placement.and_then(|placement| placement.inputs.get(index)) {
            input["parameters"] = placed_json(placed);
        } else if settings.input_format == TensorFormat::Json {
            input["data"] = Value::from(json_elements(tensor)?);
        } else {
            input["parameters"] = json!({ "binary_data_size": tensor.data.len() });
            binary.push(&tensor.data);
        }
        inputs.push(input);
    }
    let outputs: Vec<Value> = (model.outputs.iter().enumerate())
        .map(|(index, spec)| {
            let placed = placement.and_then(|placement| placement.outputs.get(index));
            let parameters = placed.map_or_else(
                || json!({ "binary_data": settings.output_format == TensorFormat::Binary }),
                placed_json,
            );
            json!({ "name": spec.name, "parameters": parameters })
        })
        .collect();
    let mut document = json!({ "inputs": inputs, "outputs": outputs });
    let mut parameters = parameters_json(&settings.parameters);
    if model.is_sequential {
        let width = |width: usize| Value::from("0".repeat(width - 2));
        parameters.insert("sequence_id".to_owned(), width(ID_WIDTH));
        for switch in ["sequence_start", "sequence_end"] {
            parameters.insert(switch.to_owned(), width(SWITCH_WIDTH));
        }
    }
    if !parameters.is_empty() {
        document["parameters"] = Value::Object(parameters);
    }
    let body = document.to_string();
    let more: usize = binary.iter().map(|data| data.len()).sum();
    let mut bytes = http_head(host, model, &settings.headers, body.len(), more).into_bytes();
    let marks = model.is_sequential.then(|| json_marks(&body, bytes.len()));
    bytes.extend_from_slice(body.as_bytes());
    for data in binary {
        bytes.extend_from_slice(data);
    }
    Ok(Message {
        bytes: bytes.into(),
        decoupled: false,
        marks: marks.flatten(),
    })
}

fn http_head(
    host: &str,
    model: &Model,
    headers: &[(String, String)],
    json_byte_size: usize,
    binary_byte_size: usize,
) -> String {
    let name = percent_encoding::utf8_percent_encode(&model.name, super::control::NAME);
    let version = model
        .version
        .map_or_else(String::new, |version| format!("/versions/{version}"));
    let (content_type, json_length) = if binary_byte_size > 0 {
        let length = format!("Inference-Header-Content-Length: {json_byte_size}\r\n");
        ("application/octet-stream", length)
    } else {
        ("application/json", String::new())
    };
    let more: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "POST /v2/models/{name}{version}/infer HTTP/1.1\r\nHost: {host}\r\n\
         Content-Type: {content_type}\r\n{json_length}Content-Length: {}\r\n{more}\r\n",
        json_byte_size + binary_byte_size
    )
}

/// Where the parameters of a sequence are in a request's JSON, which begins at `offset`; they come last.
fn json_marks(body: &str, offset: usize) -> Option<Marks> {
    let value = |name: &str| {
        let key = format!("\"{name}\":");
        Some(body.rfind(&key)? + key.len() + offset)
    };
    Some(Marks::Json {
        id: value("sequence_id")?,
        first: value("sequence_start")?,
        last: value("sequence_end")?,
    })
}

fn placed_json(placed: &Placed) -> Value {
    json!({
        "shared_memory_region": placed.region,
        "shared_memory_offset": placed.offset,
        "shared_memory_byte_size": placed.byte_size,
    })
}

fn parameters_json(parameters: &[(String, ParameterValue)]) -> Map<String, Value> {
    let json = |value: &ParameterValue| match value {
        ParameterValue::Bool(value) => Value::from(*value),
        ParameterValue::Int(value) => Value::from(*value),
        ParameterValue::Text(value) => Value::from(value.as_str()),
    };
    let map = parameters
        .iter()
        .map(|(name, value)| (name.clone(), json(value)));
    map.collect()
}

/// A gRPC message, its length in front.
pub(super) fn grpc(
    model: &Model,
    sample: &Sample,
    placement: Option<&Placement>,
    settings: &RequestSettings,
) -> Message {
    let mut message = ModelInferRequest {
        model_name: model.name.clone(),
        model_version: model
            .version
            .map_or_else(String::new, |version| version.to_string()),
        parameters: parameters_grpc(&settings.parameters),
        ..ModelInferRequest::default()
    };
    for (index, tensor) in sample.inputs.iter().enumerate() {
        let mut input = input_grpc(tensor);
        match placement.and_then(|placement| placement.inputs.get(index)) {
            Some(placed) => input.parameters = placed_grpc(placed),
            None => message.raw_input_contents.push(tensor.data.clone()),
        }
        message.inputs.push(input);
    }
    for (index, spec) in model.outputs.iter().enumerate() {
        let placed = placement.and_then(|placement| placement.outputs.get(index));
        message.outputs.push(InferRequestedOutputTensor {
            name: spec.name.clone(),
            parameters: placed.map(placed_grpc).unwrap_or_default(),
        });
    }
    if model.decoupled {
        let name = "triton_enable_empty_final_response".to_owned();
        let choice = ParameterChoice::BoolParam(true);
        message.parameters.insert(name, parameter(choice));
    }
    if model.is_sequential {
        let number = ParameterChoice::Int64Param(PLACEHOLDER);
        let parameters = &mut message.parameters;
        parameters.insert("sequence_id".to_owned(), parameter(number));
        for switch in ["sequence_start", "sequence_end"] {
            let choice = ParameterChoice::BoolParam(true);
            parameters.insert(switch.to_owned(), parameter(choice));
        }
    }
    let bytes = framed(&message);
    Message {
        marks: model
            .is_sequential
            .then(|| Marks::of_protobuf(&bytes))
            .flatten(),
        bytes,
        decoupled: model.decoupled,
    }
}

/// A message with its length in front, as gRPC sends it.
pub(super) fn framed(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(length + 5);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.into()
}

fn input_grpc(tensor: &Tensor) -> InferInputTensor {
    InferInputTensor {
        name: tensor.name.clone(),
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape.clone(),
        ..InferInputTensor::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(choice),
    }
}

fn placed_grpc(placed: &Placed) -> HashMap<String, InferParameter> {
    let number = |value: u64| ParameterChoice::Int64Param(i64::try_from(value).unwrap_or(i64::MAX));
    HashMap::from([
        (
            "shared_memory_region".to_owned(),
            parameter(ParameterChoice::StringParam(placed.region.clone())),
        ),
        (
            "shared_memory_offset".to_owned(),
            parameter(number(placed.offset)),
        ),
        (
            "shared_memory_byte_size".to_owned(),
            parameter(number(placed.byte_size)),
        ),
    ])
}

fn parameters_grpc(parameters: &[(String, ParameterValue)]) -> HashMap<String, InferParameter> {
    let choice = |value: &ParameterValue| match value {
        ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
        ParameterValue::Int(value) => ParameterChoice::Int64Param(*value),
        ParameterValue::Text(value) => ParameterChoice::StringParam(value.clone()),
    };
    parameters
        .iter()
        .map(|(name, value)| (name.clone(), parameter(choice(value))))
        .collect()
}
