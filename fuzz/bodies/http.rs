//! What is run on bytes that pretend to be an inference request over HTTP. Shared by the fuzz
//! targets and the smoke test.

use bytes::Bytes;
use despina::{
    admission::Limits,
    api::http::{bind_tensors, parse_infer_request, split_body},
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
