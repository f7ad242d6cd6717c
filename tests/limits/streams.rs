//! Limits on streams of requests and of responses, and on streams of HTTP/2.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use despina::proto::inference::{
    ModelInferRequest, ModelStreamInferResponse,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use serde_json::json;
use tonic::{
    Streaming,
    codegen::tokio_stream::{self, StreamExt},
};

use super::{
    Connection, Limited,
    common::{PATIENCE, call, wait_until},
    message, within,
};

/// The sum of a metric's series of a model.
fn counted(limited: &Limited, metric: &str, model: &str) -> usize {
    let page = call(limited.server.metrics, "GET", "/metrics", "");
    let text = page.expect("metrics").text();
    let (series, model) = (format!("{metric}{{"), format!("model=\"{model}\""));
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&series) && line.contains(&model));
    let values = lines.filter_map(|line| line.rsplit(' ').next());
    values
        .map(|value| value.parse::<usize>().expect("a number"))
        .sum()
}

/// How many requests wait in the queue of `echo`.
fn queued(limited: &Limited) -> usize {
    counted(limited, "nv_inference_pending_request_count", "echo")
}

/// Opens a stream that stays open, and sends these requests on it.
fn open(
    limited: &Limited,
    requests: Vec<ModelInferRequest>,
) -> Streaming<ModelStreamInferResponse> {
    limited.runtime.block_on(async {
        let channel = limited.connect().await.expect("connect");
        let mut client = GrpcInferenceServiceClient::new(channel);
        let stays = tokio_stream::iter(requests).chain(tokio_stream::pending());
        let call = client.model_stream_infer(stays).await;
        call.expect("a stream").into_inner()
    })
}

fn take(limited: &Limited, stream: &mut Streaming<ModelStreamInferResponse>, count: usize) {
    limited.runtime.block_on(async {
        for _ in 0..count {
            let answer = stream.message().await.expect("a response");
            assert_eq!(answer.expect("a response").error_message, "");
        }
    });
}

/// The first batch is formed when so many requests wait.
const TOGETHER: usize = 3;

/// As many requests.
fn together(size: usize) -> Vec<ModelInferRequest> {
    vec![message("echo", &["INPUT0"], size); TOGETHER]
}

/// A server whose first batch is held back until then.
fn held(limits: &[&str]) -> Limited {
    let settings = format!("queue: {{ delay_until_requests: {TOGETHER} }}\n");
    Limited::with(limits, &settings)
}

/// Sends requests of `size` bytes, one more than there may be in flight on a stream, of which the
/// model waits for one more than that: it gets to see the last only when there is room on the stream.
fn one_too_many(limited: &Limited, size: usize) {
    let mut stream = open(limited, together(size));
    wait_until("those within the limit wait", || {
        queued(limited) == TOGETHER - 1
    });
    // Whatever came before this call has been looked at.
    within(&limited.server.call("GET", "/v2/health/live", ""));
    assert_eq!(queued(limited), TOGETHER - 1, "one too many was read");
    limited
        .call(message("echo", &["INPUT0"], 1))
        .expect("the one that was waited for");
    take(limited, &mut stream, TOGETHER);
}

#[test]
pub(super) fn requests_in_flight_on_a_stream() {
    let limited = held(&["requests_per_stream: 3"]);
    take(&limited, &mut open(&limited, together(1)), TOGETHER);
    one_too_many(&held(&["requests_per_stream: 2"]), 1);
}

#[test]
pub(super) fn bytes_in_flight_on_a_stream() {
    // With one byte of room left, a stream is still read.
    let limited = held(&["stream_byte_size: 3000"]);
    take(&limited, &mut open(&limited, together(1000)), TOGETHER);
    one_too_many(&held(&["stream_byte_size: 2000"]), 1000);
}

/// Asks `repeat` over HTTP for events: one at once and the next, which ends the answer, never.
fn hold(limited: &Limited) -> Connection {
    let mut first = ask_for_events(limited, &[0, 3_600_000]);
    assert!(first.answers_within(PATIENCE), "its first event");
    first
}

/// Asks `repeat` over HTTP for events after these times.
fn ask_for_events(limited: &Limited, delays: &[u32]) -> Connection {
    let body = json!({"IN": vec![7; delays.len()], "DELAY": delays, "WAIT": [0]}).to_string();
    let head = format!(
        "POST /v2/models/repeat/generate_stream HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::open(limited.server.http).expect("connect");
    connection.send((head + &body).as_bytes()).expect("send");
    connection
}

/// A request over gRPC for so many responses at once.
fn repeat(count: usize) -> ModelInferRequest {
    let tensor = |name: &str, datatype: &str, count: usize| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![i64::try_from(count).expect("count")],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "repeat".to_owned(),
        inputs: vec![
            tensor("IN", "INT32", count),
            tensor("DELAY", "UINT32", count),
            tensor("WAIT", "UINT32", 1),
        ],
        raw_input_contents: vec![
            vec![0; 4 * count].into(),
            vec![0; 4 * count].into(),
            vec![0; 4].into(),
        ],
        ..Default::default()
    }
}

/// What becomes of a request that `ask` makes, which has to wait for the answer to an earlier one:
/// `read` reads its answer, once the earlier one is gone.
fn behind_another<T>(
    limited: &Limited,
    ask: impl FnOnce() -> T,
    read: impl FnOnce(T) -> String,
) -> String {
    let ended = || {
        counted(limited, "nv_inference_request_success", "repeat")
            + counted(limited, "nv_inference_request_failure", "repeat")
    };
    let first = hold(limited);
    let before = ended();
    let asked = ask();
    wait_until("the model has answered", || ended() > before);
    drop(first);
    read(asked)
}

#[test]
pub(super) fn responses_that_wait_to_be_read() {
    let limited = Limited::new(&["unread_responses: 3"]);
    let words = "more than 3 responses wait for the answers to earlier requests";
    let over_http = |count: usize| {
        let ask = || ask_for_events(&limited, &vec![0; count]);
        behind_another(&limited, ask, |mut asked| {
            asked.answer().expect("events").text()
        })
    };
    let over_grpc = |count: usize| {
        let ask = || open(&limited, vec![repeat(count)]);
        behind_another(&limited, ask, |mut asked| {
            limited.runtime.block_on(async {
                let mut messages = String::new();
                for _ in 0..count {
                    let answer = asked.message().await.expect("in order");
                    messages += &answer.expect("a response").error_message;
                }
                messages
            })
        })
    };
    for answer in [over_http(3), over_grpc(3)] {
        assert!(!answer.contains(words), "{answer}");
    }
    for answer in [over_http(4), over_grpc(4)] {
        assert!(answer.contains(words), "{answer}");
    }
}

/// A connection of HTTP/2 that does as it likes.
struct Wire(TcpStream);

impl Wire {
    const SETTINGS: u8 = 4;
    const ACKNOWLEDGED: u8 = 1;
    const HEADERS: u8 = 1;
    const END_HEADERS: u8 = 4;
    const RESET: u8 = 3;

    fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("send");
        let mut wire = Self(stream);
        wire.send(Self::SETTINGS, 0, 0, &[]);
        wire
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("length").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, body].concat()).expect("send");
    }

    /// The next frame of this kind: its stream and its body.
    fn next(&mut self, wanted: u8) -> (u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).expect("a frame");
            let [a, b, c, kind, _, stream @ ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]);
            let mut body = vec![0; usize::try_from(length).expect("length")];
            self.0.read_exact(&mut body).expect("its body");
            if kind == wanted {
                return (u32::from_be_bytes(stream), body);
            }
        }
    }

    /// Begins a call whose message does not come.
    fn call(&mut self, stream: u32) {
        let text = |text: &str| {
            let length = u8::try_from(text.len()).expect("a short text");
            [&[length], text.as_bytes()].concat()
        };
        // POST, http, a path and an authority by their places in the static table.
        let mut block = vec![0x83, 0x86, 0x04];
        block.extend(text("/inference.GRPCInferenceService/ModelInfer"));
        block.push(0x01);
        block.extend(text("d"));
        for field in ["content-type", "application/grpc", "te", "trailers"].chunks(2) {
            block.push(0);
            block.extend(field.iter().flat_map(|part| text(part)));
        }
        self.send(Self::HEADERS, Self::END_HEADERS, stream, &block);
    }
}

#[test]
pub(super) fn streams_of_a_connection() {
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let limited = Limited::new(&["streams_per_connection: 3"]);
    let mut wire = Wire::open(limited.server.grpc);
    let (_, settings) = wire.next(Wire::SETTINGS);
    let announced = settings
        .chunks(6)
        .find(|it| it[..2] == MAX_CONCURRENT_STREAMS);
    assert_eq!(
        announced.expect("the limit is announced")[2..],
        [0, 0, 0, 3]
    );
    wire.send(Wire::SETTINGS, Wire::ACKNOWLEDGED, 0, &[]);
    // Who does not keep to it has the fourth refused, and those before it go on.
    for stream in [1, 3, 5, 7] {
        wire.call(stream);
    }
    assert_eq!(wire.next(Wire::RESET), (7, REFUSED_STREAM.to_vec()));
    wire.send(Wire::RESET, 0, 5, &[0, 0, 0, 8]);
    wire.call(9);
    wire.call(11);
    assert_eq!(wire.next(Wire::RESET), (11, REFUSED_STREAM.to_vec()));
}
