//! What is run on bytes that pretend to be messages over gRPC. Shared by the fuzz targets and the
//! smoke test.

use std::sync::Arc;

use bytes::Bytes;
use despina::{
    admission::{Budget, Limits},
    api::grpc::{Frames, decode, read},
};

/// Limits small enough for a fuzzer to reach.
fn limits() -> Limits {
    Limits {
        tensors_per_request: 8,
        dims_per_tensor: 6,
        parameters: 8,
        text_byte_size: 256,
        ..Limits::default()
    }
}

/// A `ModelInferRequest`.
pub fn grpc_infer(data: &[u8]) {
    let limits = limits();
    let budget = Arc::new(Budget::new(1 << 20));
    let mut charge = budget.charge();
    let Ok(message) = decode(Bytes::copy_from_slice(data), &limits, &mut charge) else {
        return;
    };
    assert!(message.inputs.len() <= limits.tensors_per_request);
    assert!(message.outputs.len() <= limits.tensors_per_request);
    assert!(message.raw_input_contents.len() <= limits.tensors_per_request);
    let raw: usize = message.raw_input_contents.iter().map(Bytes::len).sum();
    let Ok(request) = read(message, "model", &limits) else {
        return;
    };
    let inputs = request.inputs.iter();
    let bound: usize = inputs.map(|input| input.tensor.data.byte_size()).sum();
    // What is left over is nobody's, as in Triton.
    assert!(raw == 0 || bound <= raw, "{bound} of {raw} bytes");
    assert!(
        raw > 0 || bound <= budget.used(),
        "bytes that nobody counts"
    );
    assert!(request.id.len() <= limits.text_byte_size);
}

/// The body of a stream after a byte that says how large the pieces are in which it arrives: the
/// same messages must come out of it whatever they are.
pub fn grpc_stream(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else {
        return;
    };
    let whole = messages(body, body.len().max(1));
    assert_eq!(messages(body, usize::from(size).max(1)), whole);
    for (_, message) in whole.messages {
        grpc_infer(&message);
    }
}

#[derive(Debug, PartialEq)]
struct Taken {
    messages: Vec<(bool, Bytes)>,
    is_partial: bool,
    refused: Option<&'static str>,
}

fn messages(body: &[u8], piece_byte_size: usize) -> Taken {
    const LIMIT: usize = 1024;
    let budget = Arc::new(Budget::new(usize::MAX));
    let mut frames = Frames::new(LIMIT, budget.charge());
    let mut taken = Taken {
        messages: Vec::new(),
        is_partial: false,
        refused: None,
    };
    for piece in body.chunks(piece_byte_size) {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.take() {
                Ok(Some((is_compressed, message))) => {
                    assert!(message.len() <= LIMIT);
                    let held = budget.used();
                    assert!(held >= message.len(), "{held} of {} bytes", message.len());
                    drop(frames.charge());
                    taken.messages.push((is_compressed, message));
                }
                Ok(None) => break,
                Err(error) => {
                    taken.refused = Some(error.reason());
                    return taken;
                }
            }
        }
    }
    taken.is_partial = frames.is_partial();
    drop(frames);
    assert_eq!(budget.used(), 0, "bytes that are never given back");
    taken
}
