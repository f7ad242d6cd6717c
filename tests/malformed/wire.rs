//! Bytes that are no HTTP, or HTTP that lies about itself, on the HTTP and the gRPC port.

use std::{net::SocketAddr, time::Duration};

use super::{common::Connection, right_json, server, still_answers};

/// Sends `bytes`; what comes back must not be a success. A server that waits for more is told that
/// nothing more will come.
fn refused(address: SocketAddr, name: &str, bytes: &[u8]) {
    let mut connection = Connection::open(address).expect("connect");
    // The server may close the door before it has read everything.
    if connection.send(bytes).is_err() {
        return;
    }
    if !connection.answers_within(Duration::from_millis(500))
        && connection.finish_sending().is_err()
    {
        return;
    }
    match connection.answer() {
        Ok(answer) => assert!(answer.status >= 400, "{name}: {}", answer.status),
        Err(error) => assert!(
            !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
            "{name}: neither an answer nor a closed connection"
        ),
    }
}

/// A request of this first line, these header lines and this body.
fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    format!("{line}\r\nHost: d\r\n{headers}\r\n{body}").into_bytes()
}

const INFER: &str = "POST /v2/models/pair/infer HTTP/1.1";

#[test]
fn bytes_that_are_no_http() {
    let (_repository, server) = server();
    let random: Vec<u8> = (0..4096_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    for (name, bytes) in [
        ("a line feed", b"\n".to_vec()),
        ("a word", b"GARBAGE\r\n\r\n".to_vec()),
        ("noise", random),
        ("zeros", vec![0; 4096]),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            "a version that is none",
            request("GET /v2 HTTP/9.9", &[], ""),
        ),
        (
            "a method that is none",
            request("G\0T /v2 HTTP/1.1", &[], ""),
        ),
        ("no path", request("GET HTTP/1.1", &[], "")),
        (
            "a path of a megabyte",
            request(&format!("GET /{} HTTP/1.1", "x".repeat(1 << 20)), &[], ""),
        ),
    ] {
        refused(server.http, name, &bytes);
        still_answers(&server, name);
    }
    server.stop();
}

#[test]
fn header_fields_that_lie() {
    let (_repository, server) = server();
    let right = right_json();
    let length = format!("Content-Length: {}", right.len());
    let longer = format!("Content-Length: {}", right.len() + 10);
    let big = format!("X: {}", "x".repeat(1 << 20));
    let many = vec!["X: y"; 20_000];
    let cases: [(&str, &[&str], &str); 14] = [
        ("a negative length", &["Content-Length: -1"], &right),
        ("a length that is none", &["Content-Length: x"], &right),
        (
            "a length beyond 64 bits",
            &["Content-Length: 99999999999999999999"],
            &right,
        ),
        (
            "a length of exabytes",
            &["Content-Length: 9223372036854775807"],
            &right,
        ),
        ("a length of 3 GiB", &["Content-Length: 3221225472"], &right),
        ("a length of 2 GiB", &["Content-Length: 2147483648"], ""),
        ("two lengths", &[&length, "Content-Length: 3"], &right),
        ("a longer length", &[&longer], &right),
        (
            "a chunk size that is none",
            &["Transfer-Encoding: chunked"],
            "zz\r\n",
        ),
        (
            "a chunk beyond 64 bits",
            &["Transfer-Encoding: chunked"],
            "FFFFFFFFFFFFFFFFF\r\n",
        ),
        ("a cut chunk", &["Transfer-Encoding: chunked"], "ff\r\nabc"),
        (
            "an unknown transfer encoding",
            &["Transfer-Encoding: magic"],
            &right,
        ),
        ("a header field of a megabyte", &[&big], ""),
        ("twenty thousand header fields", &many, ""),
    ];
    for (name, headers, body) in cases {
        refused(server.http, name, &request(INFER, headers, body));
        still_answers(&server, name);
    }
    for header in ["No colon", "N\0ul: x", "Space : x", ": x"] {
        refused(
            server.http,
            header,
            &request(INFER, &[header, &length], &right),
        );
        still_answers(&server, header);
    }
    let encoded = request(INFER, &[&length, "Content-Encoding: magic"], &right);
    refused(server.http, "an unknown content encoding", &encoded);
    still_answers(&server, "an unknown content encoding");
    server.stop();
}

#[test]
fn a_header_length_sent_twice_or_with_a_chunked_body() {
    let (_repository, server) = server();
    let right = right_json();
    let length = format!("Content-Length: {}", right.len());
    let twice = [
        &length,
        "Inference-Header-Content-Length: 4",
        "Inference-Header-Content-Length: 5",
    ];
    refused(server.http, "twice", &request(INFER, &twice, &right));
    still_answers(&server, "twice");
    let chunked = [
        "Transfer-Encoding: chunked",
        "Inference-Header-Content-Length: 1000000",
    ];
    let body = format!("{:x}\r\n{right}\r\n0\r\n\r\n", right.len());
    refused(server.http, "chunked", &request(INFER, &chunked, &body));
    still_answers(&server, "chunked");
    server.stop();
}

#[test]
fn many_connections_that_say_half_a_word() {
    let (_repository, server) = server();
    let halves: Vec<Connection> = (0..300)
        .map(|i| {
            let mut connection = Connection::open(server.http).expect("connect");
            let text = request(INFER, &["Content-Length: 1000"], "{");
            connection.send(&text[..text.len() - i % 20]).expect("send");
            connection
        })
        .collect();
    still_answers(&server, "300 half requests");
    drop(halves);
    still_answers(&server, "300 closed connections");
    server.stop();
}

#[test]
fn a_megabyte_of_pipelined_requests_is_answered_in_order() {
    let (_repository, server) = server();
    let right = right_json();
    let one = request(
        INFER,
        &[&format!("Content-Length: {}", right.len())],
        &right,
    );
    let mut connection = Connection::open(server.http).expect("connect");
    let count = 100;
    connection.send(&one.repeat(count)).expect("send");
    for i in 0..count {
        let answer = connection
            .answer()
            .unwrap_or_else(|error| panic!("answer {i}: {error}"));
        assert_eq!(answer.status, 200);
    }
    server.stop();
}

#[test]
fn bytes_that_are_no_grpc_on_the_grpc_port() {
    let (_repository, server) = server();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |length: u32, kind: u8, body: &[u8]| {
        let mut bytes = preface.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(body);
        bytes
    };
    for (name, bytes) in [
        ("noise", vec![0xa5; 4096]),
        ("HTTP/1.1", request("GET /v2 HTTP/1.1", &[], "")),
        ("settings of a wrong length", frame(5, 4, &[0; 5])),
        ("a frame of 16 MiB", frame(0x00ff_ffff, 0, &[0; 100])),
        ("data on no stream", frame(4, 0, &[0; 4])),
        ("a header block that is none", frame(4, 1, &[0xff; 4])),
        ("an unknown frame", frame(4, 0x77, &[0; 4])),
        ("half a frame", frame(100, 4, &[0; 7])),
    ] {
        let mut connection = Connection::open(server.grpc).expect("connect");
        // Whatever comes back, the connection must come to an end.
        let _ = connection.send(&bytes);
        let _ = connection.finish_sending();
        connection
            .drain()
            .unwrap_or_else(|error| panic!("{name}: the connection stays open: {error}"));
        still_answers(&server, name);
    }
    server.stop();
}
