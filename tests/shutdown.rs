//! A graceful end: after SIGTERM the server says that it is not ready, answers every request that
//! it has accepted, and exits with 0; a request that hangs holds it for a bounded time only.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use despina::proto::inference::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use tonic::{
    Code,
    codegen::tokio_stream::{self, StreamExt},
    transport::Endpoint,
};

use common::{Answer, Connection, PATIENCE, Repository, Server, call, identity_config, wait_until};

const INFER: &str = "/v2/models/slow/infer";
const BODY: &str = r#"{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[5]}]}"#;

/// A server of one identity model that takes so long for each batch.
fn server(delay: Duration, flags: &[&str]) -> (Repository, Server) {
    let repository = Repository::empty();
    let parameter = format!(
        "parameters {{ key: \"execute_delay_ms\" value: {{ string_value: \"{}\" }} }}",
        delay.as_millis()
    );
    let config = identity_config("TYPE_FP32", 4, &parameter);
    repository.add("slow", &config, &[1]);
    let server = Server::start_plain(repository.path(), flags);
    (repository, server)
}

fn is_right(answer: &Answer) -> bool {
    answer.status == 200 && answer.json()["outputs"][0]["data"][0].as_f64() == Some(5.0)
}

/// Waiting requests as the metrics page counts them.
fn pending(server: &Server) -> u64 {
    let page = call(server.metrics, "GET", "/metrics", "").expect("metrics");
    page.text()
        .lines()
        .filter(|line| line.starts_with("nv_inference_pending_request_count{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn an_idle_server_exits_with_0_at_once() {
    let (_repository, server) = server(Duration::ZERO, &[]);
    assert!(server.is_ready());
    let begin = Instant::now();
    server.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn open_connections_without_a_request_do_not_hold_the_server() {
    let (_repository, server) = server(Duration::ZERO, &[]);
    let mut used = Connection::open(server.http).expect("connect");
    assert_eq!(used.fetch("/v2/health/ready").expect("answer").status, 200);
    let mut half = Connection::open(server.http).expect("connect");
    half.send(b"POST /v2/models/slow/infer HTTP/1.1\r\nHo")
        .expect("send");
    let _unused = Connection::open(server.http).expect("connect");
    let begin = Instant::now();
    server.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn an_open_stream_is_told_of_the_end_and_does_not_hold_the_server() {
    let (_repository, server) = server(Duration::ZERO, &[]);
    let request = ModelInferRequest {
        model_name: "slow".to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 1],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 4].into()],
        ..Default::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let address = format!("http://{}", server.grpc);
    let (mut answers, first) = runtime.block_on(async {
        // One request, and then nothing, without an end.
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let endpoint = Endpoint::from_shared(address).expect("address");
        let channel = endpoint.connect().await.expect("connect");
        let mut client = GrpcInferenceServiceClient::new(channel);
        let stream = client.model_stream_infer(requests).await;
        let mut answers = stream.expect("a stream opens").into_inner();
        let first = answers.message().await;
        (answers, first)
    });
    let first = first.expect("an answer").expect("a response");
    assert_eq!(first.error_message, "");
    let begin = Instant::now();
    server.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    let end = runtime.block_on(answers.message()).expect_err("an end");
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
}

#[test]
fn a_grpc_client_that_does_not_react_does_not_hold_the_server() {
    let (_repository, server) = server(Duration::ZERO, &[]);
    let mut frozen = Connection::open(server.grpc).expect("connect");
    // The preface and empty settings: a connection without a request, and nothing after that.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    frozen.send(preface).expect("send");
    assert!(frozen.answers_within(PATIENCE), "the server's settings");
    let begin = Instant::now();
    server.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn what_was_accepted_is_answered_and_then_the_door_is_closed() {
    let (_repository, server) = server(Duration::from_millis(400), &[]);
    let mut connections: Vec<Connection> = (0..6)
        .map(|_| Connection::open(server.http).expect("connect"))
        .collect();
    let message = format!(
        "POST {INFER} HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    for connection in &mut connections {
        connection.send(message.as_bytes()).expect("send");
    }
    // One executes, five wait: all are accepted.
    wait_until("all are queued", || pending(&server) == 5);
    let mut probe = Connection::open(server.http).expect("connect");
    assert_eq!(probe.fetch("/v2/health/ready").expect("answer").status, 200);
    server.terminate();
    wait_until("it is not ready", || {
        match probe.fetch("/v2/health/ready") {
            Ok(answer) => answer.status != 200,
            Err(_) => true,
        }
    });
    // Who comes while the door closes is answered or turned away; soon nobody is let in.
    if let Ok(answer) = call(server.http, "POST", INFER, BODY) {
        let turned_away = answer.status == 503;
        assert!(turned_away || is_right(&answer), "{}", answer.text());
    }
    wait_until("the door is closed", || {
        Connection::open(server.http).is_err()
    });
    for (i, connection) in connections.iter_mut().enumerate() {
        let answer = connection
            .answer()
            .unwrap_or_else(|error| panic!("accepted request {i} was lost: {error}"));
        assert!(is_right(&answer), "request {i}: {}", answer.text());
    }
    let ended = server.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What a client under load saw.
#[derive(Debug, Default)]
struct Seen {
    right: u64,
    refused: u64,
    lost: Vec<String>,
}

/// Sends requests until the server refuses one or closes the door between two of them. Anything
/// else but a right answer is a lost request: a wrong answer, a cut one, a status besides 503.
fn press(http: SocketAddr, answered: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    loop {
        let Ok(mut connection) = Connection::open(http) else {
            return seen;
        };
        loop {
            match connection.post(INFER, BODY) {
                Ok(answer) if is_right(&answer) => {
                    seen.right += 1;
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        break;
                    }
                }
                Ok(answer) if answer.status == 503 => {
                    seen.refused += 1;
                    return seen;
                }
                Ok(answer) => seen
                    .lost
                    .push(format!("{}: {}", answer.status, answer.text())),
                // The door was closed between two requests: nothing of this one was accepted.
                Err(error) if is_closed_door(&error) => {
                    seen.refused += 1;
                    return seen;
                }
                Err(error) => {
                    seen.lost.push(error.to_string());
                    return seen;
                }
            }
        }
    }
}

fn is_closed_door(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

/// Requests that the server executed: the success count of its metrics.
fn executed(page: &Answer) -> u64 {
    page.text()
        .lines()
        .find_map(|line| line.strip_prefix("nv_inference_request_success{"))
        .and_then(|rest| rest.rsplit(' ').next()?.parse().ok())
        .expect("success count")
}

#[test]
fn under_load_every_request_is_answered_rightly_or_refused() {
    let (_repository, server) = server(Duration::from_millis(3), &[]);
    let answered = AtomicU64::new(0);
    let http = server.http;
    let all: Vec<Seen> = thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| press(http, &answered)))
            .collect();
        wait_until("there is load", || answered.load(Ordering::SeqCst) > 200);
        let page = call(server.metrics, "GET", "/metrics", "").expect("metrics");
        assert!(executed(&page) >= 200);
        let begin = Instant::now();
        server.terminate();
        let ended = server.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
        clients
            .into_iter()
            .map(|client| client.join().expect("client"))
            .collect()
    });
    let right: u64 = all.iter().map(|seen| seen.right).sum();
    assert!(right > 200, "{all:?}");
    assert!(all.iter().all(|seen| seen.lost.is_empty()), "{all:?}");
}

#[test]
fn a_request_that_hangs_holds_the_server_for_a_bounded_time() {
    let flags = ["--exit-timeout-secs", "1"];
    let (_repository, server) = server(Duration::from_secs(3600), &flags);
    let mut connection = Connection::open(server.http).expect("connect");
    let message = format!(
        "POST {INFER} HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    connection.send(message.as_bytes()).expect("send");
    let mut second = Connection::open(server.http).expect("connect");
    second.send(message.as_bytes()).expect("send");
    wait_until("one runs and one waits", || pending(&server) == 1);
    let begin = Instant::now();
    server.terminate();
    let ended = server.wait(Duration::from_secs(10));
    assert!(
        begin.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begin.elapsed()
    );
    // Triton's code for "the drain timed out" is 1; killed by a signal would be `None`.
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn further_signals_while_draining_change_nothing() {
    let (_repository, server) = server(Duration::from_millis(600), &[]);
    let http = server.http;
    let client = thread::spawn(move || call(http, "POST", INFER, BODY));
    let second = thread::spawn(move || call(http, "POST", INFER, BODY));
    wait_until("one runs and one waits", || pending(&server) == 1);
    server.terminate();
    server.terminate();
    for client in [client, second] {
        let answer = client.join().expect("client").expect("answer");
        assert!(is_right(&answer), "{}", answer.text());
    }
    let ended = server.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
