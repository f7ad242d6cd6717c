//! Limits on bytes: of requests, before and after decompression, of JSON, of header fields, and of
//! answers.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use tonic::{Code, Request, metadata::MetadataValue};

use super::{
    GrpcInferenceServiceClient, Limited, beyond, binary, changed, framed, message, post_binary,
    refused, within,
};

/// How many tensor bytes make an HTTP request of `total` bytes, whose JSON says how many there are.
fn tensor_size(total: usize) -> usize {
    (0..total)
        .find(|&size| binary(size).1.len() == total)
        .expect("a request of that size")
}

#[test]
pub(super) fn bytes_of_a_request() {
    let limited = Limited::new(&["request_byte_size: 1000"]);
    within(&post_binary(&limited, tensor_size(1000)));
    let answer = post_binary(&limited, tensor_size(1001));
    beyond(&answer, 413, "exceeds the limit of 1000 bytes");
    let overhead = message("echo", &["INPUT0"], 900).encoded_len() - 900;
    let sized = |total: usize| message("echo", &["INPUT0"], total - overhead);
    assert_eq!(sized(1000).encoded_len(), 1000);
    limited.call(sized(1000)).expect("within the limit");
    let words = "exceeds the limit of 1005 bytes";
    refused(limited.call(sized(1001)), Code::ResourceExhausted, words);
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

fn post_gzip(limited: &Limited, size: usize) -> super::Answer {
    let (length, body) = binary(size);
    let headers = [
        ("Inference-Header-Content-Length", length.as_str()),
        ("Content-Encoding", "gzip"),
    ];
    limited.post("echo", &headers, &gzip(&body))
}

/// A compressed message, which the generated client cannot send without a feature of its own.
fn call_gzip(limited: &Limited, size: usize) -> Code {
    let message = framed(
        1,
        &gzip(&message("echo", &["INPUT0"], size).encode_to_vec()),
    );
    let outcome = limited.call_in_pieces(&[("grpc-encoding", "gzip")], [message], false);
    outcome.err().map_or(Code::Ok, |status| status.code())
}

#[test]
pub(super) fn bytes_after_decompression() {
    let limited = Limited::new(&["decompressed_byte_size: 100000"]);
    within(&post_gzip(&limited, tensor_size(100_000)));
    let answer = post_gzip(&limited, tensor_size(100_001));
    beyond(
        &answer,
        400,
        "exceeds the maximum allowed value of 100000 bytes",
    );
    let overhead = message("echo", &["INPUT0"], 90_000).encoded_len() - 90_000;
    assert_eq!(call_gzip(&limited, 100_000 - overhead), Code::Ok);
    let over = call_gzip(&limited, 100_001 - overhead);
    assert_eq!(over, Code::ResourceExhausted);
}

#[test]
pub(super) fn the_ratio_of_decompression() {
    let limited = Limited::new(&["decompression_ratio: 100"]);
    within(&post_gzip(&limited, (1 << 20) - 1000));
    let answer = post_gzip(&limited, 2 << 20);
    beyond(&answer, 413, "exceed the limit of 100 times");
    assert_eq!(call_gzip(&limited, (1 << 20) - 1000), Code::Ok);
    assert_eq!(call_gzip(&limited, 2 << 20), Code::ResourceExhausted);
}

#[test]
pub(super) fn bytes_of_json() {
    let padded = |total: usize| {
        let mut body = changed(|_| ());
        body.resize(total, b' ');
        body
    };
    let limited = Limited::new(&["json_byte_size: 500"]);
    within(&limited.post("echo", &[], &padded(500)));
    let answer = limited.post("echo", &[], &padded(501));
    beyond(
        &answer,
        400,
        "size of 501 bytes exceeds the maximum allowed input size of 500",
    );
}

#[test]
pub(super) fn bytes_of_header_fields() {
    let limited = Limited::new(&["header_byte_size: 4096"]);
    let post =
        |size: usize| limited.post("echo", &[("x-long", &"x".repeat(size))], &changed(|_| ()));
    within(&post(3500));
    assert_eq!(post(4096).status, 431);
    let call = |size: usize| {
        let mut request = Request::new(message("echo", &["INPUT0"], 1));
        let value = MetadataValue::try_from("x".repeat(size)).expect("ASCII");
        request.metadata_mut().insert("x-long", value);
        limited.runtime.block_on(async {
            let mut client = GrpcInferenceServiceClient::new(limited.connect().await?);
            client.model_infer(request).await.map(drop)
        })
    };
    call(3500).expect("within the limit");
    assert!(call(4096).is_err());
}

#[test]
pub(super) fn bytes_of_an_answer() {
    let limited = Limited::new(&["response_byte_size: 1000"]);
    let answer = post_binary(&limited, 700);
    within(&answer);
    let most = 700 + (1000 - answer.body.len());
    assert_eq!(post_binary(&limited, most).body.len(), 1000);
    let words = "response of 1001 bytes exceeds the limit of 1000 bytes";
    beyond(&post_binary(&limited, most + 1), 400, words);
    // As JSON, 300 bytes become more than 1000.
    let (length, body) = binary(300);
    let body = String::from_utf8(body)
        .expect("text")
        .replace("true", "false");
    let length = (length.parse::<usize>().expect("length") + 1).to_string();
    let body = body.replace('\0', "\u{7f}");
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let answer = limited.post("echo", &headers, body.as_bytes());
    beyond(&answer, 400, "exceeds the limit of 1000 bytes");
    limited
        .call(message("echo", &["INPUT0"], 900))
        .expect("within the limit");
    let outcome = limited.call(message("echo", &["INPUT0"], 1000));
    refused(
        outcome,
        Code::InvalidArgument,
        "exceeds the limit of 1000 bytes",
    );
}
