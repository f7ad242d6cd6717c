//! Requests that fail leave nothing behind, wherever they fail: no bytes of those that requests in flight
//! may hold, and no open files.

use super::{
    Connection, Limited, binary, common::wait_until, framed, message, post_binary, sizes::gzip,
    within,
};
use bytes::Bytes;
use prost::Message;

/// All that requests in flight may hold.
const HOLDS: &str = "in_flight_byte_size: 400000";
/// A request's bytes, of which three fit at a time, with their answers.
const SIZE: usize = 60_000;
/// Enough for each kind of request to use all up, if it kept a tenth of what it brings.
const ROUNDS: usize = 80;

/// Bodies that are wrong in one way each, with a header field that says how they are encoded.
fn wrong_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> = (0_u32..20_000)
        .flat_map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let compressed = gzip(&noise);
    let cut = compressed[..compressed.len() - 9].to_vec();
    let followed = [&compressed[..], b"more"].concat();
    let (_, whole) = binary(SIZE);
    vec![
        ("identity", noise.clone()),
        ("identity", whole[..whole.len() - 1].to_vec()),
        ("identity", vec![b'['; SIZE]),
        ("gzip", noise),
        ("gzip", compressed),
        ("gzip", cut),
        ("gzip", followed),
        ("gzip", gzip(&vec![0; 1 << 20])),
    ]
}

#[test]
fn requests_that_fail_leave_nothing_behind() {
    let limits = [
        HOLDS,
        "request_byte_size: 400000",
        "decompressed_byte_size: 200000",
    ];
    let limited = Limited::new(&limits);
    within(&post_binary(&limited, SIZE));
    let files = limited.server.open_files();
    for (encoding, body) in wrong_bodies() {
        let message = framed(1, &body);
        for _ in 0..ROUNDS {
            let headers = [("Content-Encoding", encoding)];
            let answer = limited.post("echo", &headers, &body);
            assert!((400..500).contains(&answer.status), "{}", answer.text());
            let fields = [("grpc-encoding", encoding)];
            let outcome = limited.call_in_pieces(&fields, [message.clone()], false);
            outcome.expect_err("it is wrong");
        }
    }
    let whole = framed(0, &message("echo", &["INPUT0"], SIZE).encode_to_vec());
    let (length, body) = binary(SIZE);
    let head = format!(
        "POST /v2/models/echo/infer HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\
         Inference-Header-Content-Length: {length}\r\n\r\n",
        body.len()
    );
    for _ in 0..ROUNDS {
        // Clients that go away in the middle, and some after the end.
        for sent in [body.len() - 1, body.len()] {
            let mut connection = Connection::open(limited.server.http).expect("connect");
            connection.send(head.as_bytes()).expect("send");
            connection.send(&body[..sent]).expect("send");
        }
        let cut = [whole.slice(..SIZE / 2), Bytes::new()];
        drop(limited.call_in_pieces(&[], cut, false));
    }
    wait_until("all files are closed", || {
        limited.server.open_files() <= files
    });
    // With as much as one such request less, this one would not fit.
    let most = 190_000;
    within(&post_binary(&limited, most));
    limited
        .call(message("echo", &["INPUT0"], most))
        .expect("there is room");
}
