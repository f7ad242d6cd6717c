//! What is run on bytes that pretend to be an inference request over HTTP. Shared by the fuzz
//! targets and the smoke test.

use std::sync::LazyLock;

use bytes::Bytes;
use despina::{
    admission::Limits,
    api::http::{bind_tensors, parse_generate_request, parse_infer_request, split_body},
    model_config::{self, Environment, ModelConfig},
};

/// Limits small enough for a fuzzer to reach.
fn limits() -> Limits {
    Limits {
        json_byte_size: 1 << 16,
        tensors_per_request: 8,
        dims_per_tensor: 6,
        parameters: 8,
        text_byte_size: 256,
        ..Limits::default()
    }
}

/// A body whose first two bytes say how long its JSON is.
pub fn http_binary(data: &[u8]) {
    let Some((length, body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let byte_size = body.len();
    let Ok((json, tensors)) = split_body(body, Some(u16::from_le_bytes(*length).into())) else {
        return;
    };
    assert_eq!(json.len() + tensors.len(), byte_size);
    let Ok(document) = parse_infer_request(&json, &limits()) else {
        return;
    };
    let announced = tensors.len();
    if let Ok(request) = bind_tensors(document, tensors, "model") {
        // Tensors from the JSON come on top of those that were announced.
        let bound: usize = request
            .inputs
            .iter()
            .map(|input| input.tensor.data.byte_size())
            .sum();
        assert!(
            bound >= announced,
            "{bound} of {announced} bytes were bound"
        );
    }
}

/// A body that is JSON alone.
pub fn json_tensors(data: &[u8]) {
    if let Ok(document) = parse_infer_request(data, &limits()) {
        let _ = bind_tensors(document, Bytes::new(), "model");
    }
}

/// A model with an input of each kind that generate requests treat differently.
static MODEL: LazyLock<Option<ModelConfig>> = LazyLock::new(|| {
    let text = "name: 'm' backend: 'identity' max_batch_size: 8
        input { name: 'PROMPT' data_type: TYPE_STRING dims: 1 }
        input { name: 'N' data_type: TYPE_INT32 dims: [ -1, 2 ] }
        input { name: 'STREAM' data_type: TYPE_BOOL dims: 1 }
        input { name: 'X' data_type: TYPE_FP32 dims: -1 }
        output { name: 'OUT' data_type: TYPE_STRING dims: 1 }";
    let config = model_config::from_pbtxt(text, "config.pbtxt").ok()?;
    ModelConfig::from_proto(config, &Environment::default()).ok()
});

/// A generate request.
pub fn generate(data: &[u8]) {
    let model = MODEL.as_ref().expect("the configuration is valid");
    let Ok(request) = parse_generate_request(data, model, &limits()) else {
        return;
    };
    for input in &request.inputs {
        let tensor = &input.tensor;
        let bytes = tensor.shape.byte_size(tensor.datatype);
        assert!(bytes.is_none_or(|bytes| bytes == tensor.data.byte_size()));
    }
}
