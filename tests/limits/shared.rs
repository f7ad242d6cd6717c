//! Limits that all clients share, or all requests of one connection: bytes in flight, connections,
//! streams. Who is beyond them is told so at once, and served again when there is room.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use despina::proto::inference::InferTensorContents;
use serde_json::json;
use tonic::{Code, Status};

use super::{
    Connection, GrpcInferenceServiceClient, Limited, beyond, binary, changed,
    common::{PATIENCE, wait_until},
    message, post_binary, refused, within,
};

#[test]
pub(super) fn bytes_in_flight_over_all_connections_and_both_doors() {
    let limited = Limited::new(&["in_flight_byte_size: 100000", "request_byte_size: 100000"]);
    within(&post_binary(&limited, 40_000));
    // Most of a request, which the server has to keep while it waits for the rest.
    let (length, body) = binary(90_000);
    let head = format!(
        "POST /v2/models/echo/infer HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\
         Inference-Header-Content-Length: {length}\r\n\r\n",
        body.len()
    );
    let begin = || {
        let mut slow = Connection::open(limited.server.http).expect("connect");
        slow.send(head.as_bytes()).expect("send");
        slow.send(&body[..80_000]).expect("send");
        slow
    };
    let mut slow = begin();
    wait_until("the slow request is read", || {
        // It may be the one that does not fit beside the other.
        if slow.answers_within(Duration::from_millis(1)) {
            slow = begin();
        }
        post_binary(&limited, 40_000).status == 429
    });
    let answer = post_binary(&limited, 40_000);
    beyond(
        &answer,
        429,
        "of the 100000 bytes that they may hold together",
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    let outcome = limited.call(message("echo", &["INPUT0"], 40_000));
    refused(outcome, Code::ResourceExhausted, "of the 100000 bytes");
    // Small ones still fit.
    within(&post_binary(&limited, 1000));
    limited
        .call(message("echo", &["INPUT0"], 1000))
        .expect("there is room for it");
    drop(slow);
    wait_until("the slow request is forgotten", || {
        post_binary(&limited, 40_000).status == 200
    });
    limited
        .call(message("echo", &["INPUT0"], 40_000))
        .expect("there is room again");
}

#[test]
pub(super) fn answers_count_as_in_flight_until_they_are_read() {
    let limited = Limited::new(&["in_flight_byte_size: 100000", "request_byte_size: 100000"]);
    // A request of 60 000 bytes fits; its answer of as many does not fit beside it.
    let answer = post_binary(&limited, 60_000);
    beyond(
        &answer,
        429,
        "of the 100000 bytes that they may hold together",
    );
    within(&post_binary(&limited, 49_000));
}

#[test]
pub(super) fn what_elements_become_counts_as_in_flight() {
    let limited = Limited::new(&["in_flight_byte_size: 300000", "request_byte_size: 300000"]);
    // 20 000 bytes of JSON, which may become four times as many.
    let list = |count: usize| {
        changed(|request| {
            request["inputs"][0]["shape"] = json!([count]);
            request["inputs"][0]["data"] = json!(vec![1; count]);
            request["parameters"] = json!({"binary_data_output": true});
        })
    };
    within(&limited.post("echo", &[], &list(10_000)));
    let answer = limited.post("echo", &[], &list(40_000));
    beyond(
        &answer,
        429,
        "of the 300000 bytes that they may hold together",
    );
    // One byte on the wire becomes four in a list, which may have grown to twice its size, and one.
    let typed = |count: usize| {
        let mut message = message("echo", &["INPUT0"], count);
        message.raw_input_contents.clear();
        message.inputs[0].contents = Some(InferTensorContents {
            uint_contents: vec![1; count],
            ..Default::default()
        });
        limited.call(message)
    };
    typed(20_000).expect("within the limit");
    let words = "of the 300000 bytes that they may hold together";
    refused(typed(25_000), Code::ResourceExhausted, words);
}

/// A connection that the server has taken: it has answered on it.
fn taken(address: SocketAddr) -> Option<Connection> {
    let mut connection = Connection::open(address).ok()?;
    let answer = connection.fetch("/v2/health/live").ok()?;
    (answer.status == 200).then_some(connection)
}

#[test]
pub(super) fn connections() {
    let limited = Limited::new(&["connections: 3"]);
    let http = limited.server.http;
    // The test that the server is ready may have left one that is not closed yet.
    let mut open: Vec<Connection> = Vec::new();
    wait_until("three connections are open", || {
        open.extend(taken(http));
        open.len() >= 3
    });
    assert!(taken(http).is_none(), "a fourth connection was served");
    open.pop();
    wait_until("there is room for another", || taken(http).is_some());
    // Each door has its own; three of gRPC's are open and say nothing.
    limited
        .call(message("echo", &["INPUT0"], 1))
        .expect("gRPC has room");
    let mut silent: Vec<TcpStream> = Vec::new();
    wait_until("gRPC is full", || {
        silent.push(TcpStream::connect(limited.server.grpc).expect("connect"));
        limited.call(message("echo", &["INPUT0"], 1)).is_err()
    });
    drop(silent);
    wait_until("gRPC has room again", || {
        limited.call(message("echo", &["INPUT0"], 1)).is_ok()
    });
}

#[test]
pub(super) fn requests_of_a_connection() {
    let limited = Limited::new(&["requests_per_connection: 3"]);
    let mut connection = Connection::open(limited.server.http).expect("connect");
    for request in 1..=3 {
        let answer = connection.fetch("/v2/health/live").expect("an answer");
        let closes = answer.header("connection") == Some("close");
        assert_eq!((answer.status, closes), (200, request == 3));
    }
    assert!(connection.fetch("/v2/health/live").is_err());
    // Over HTTP/2 the third is answered too, and then the connection ends.
    limited.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(limited.server.grpc).await;
        let stream = hyper_util::rt::TokioIo::new(stream.expect("connect"));
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
                executor, stream,
            )
            .await
            .expect("HTTP/2");
        let ended = tokio::spawn(connection);
        for _ in 0..3 {
            let call = http::Request::post("http://d/inference.GRPCInferenceService/ServerLive")
                .header("content-type", "application/grpc")
                .body(http_body_util::Empty::new())
                .expect("a request");
            sender.ready().await.expect("open");
            let answer = sender.send_request(call).await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended
            .expect("in time")
            .expect("no panic")
            .expect("in order");
        assert!(sender.is_closed());
    });
}

/// What became of so many requests on one stream: how many were answered, and how it ended.
fn streamed(limited: &Limited, count: usize) -> (usize, Result<(), Status>) {
    let requests = tonic::codegen::tokio_stream::iter(vec![message("echo", &["INPUT0"], 1); count]);
    limited.runtime.block_on(async {
        let channel = limited.connect().await.expect("connect");
        let mut client = GrpcInferenceServiceClient::new(channel);
        let call = client.model_stream_infer(requests).await;
        let mut answers = call.expect("a stream").into_inner();
        let mut answered = 0;
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    assert_eq!(answer.error_message, "");
                    answered += 1;
                }
                Ok(None) => return (answered, Ok(())),
                Err(status) => return (answered, Err(status)),
            }
        }
    })
}

#[test]
pub(super) fn messages_of_a_stream() {
    let limited = Limited::new(&["messages_per_stream: 5"]);
    let (answered, ending) = streamed(&limited, 5);
    assert_eq!(
        (answered, ending.map_err(|status| status.code())),
        (5, Ok(()))
    );
    let (answered, ending) = streamed(&limited, 6);
    assert_eq!(answered, 5);
    let words = "the stream has carried 5 requests, which is the limit; open another";
    refused(ending, Code::ResourceExhausted, words);
}

/// A connection whose client says nothing is closed, at either door; so is one that says only a part
/// of a head.
#[test]
pub(super) fn silence() {
    let limited = Limited::new(&["header_timeout_seconds: 1"]);
    for (address, said) in [
        (limited.server.http, ""),
        (limited.server.grpc, ""),
        (limited.server.http, "GET /v2"),
    ] {
        let mut silent = TcpStream::connect(address).expect("connect");
        silent.write_all(said.as_bytes()).expect("send");
        silent.set_read_timeout(Some(PATIENCE)).expect("timeout");
        assert_eq!(silent.read(&mut [0]).expect("its end"), 0, "{said:?}");
    }
}
