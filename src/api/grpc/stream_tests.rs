use std::{collections::HashMap, task::Waker};

use prost::Message;
use tokio::sync::mpsc;

use super::*;
use crate::{
    admission::Identity,
    api::{
        Api, Stage,
        admit::Entrance,
        tests::{Models, empty_api, with_models},
    },
    proto::inference::{
        self as pb, infer_parameter::ParameterChoice, model_infer_request::InferInputTensor,
    },
};

/// A body whose pieces the test sends one by one; it ends with the sender.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A stream as its client sees it.
struct Client {
    sender: Option<mpsc::UnboundedSender<Bytes>>,
    stream: Conversation<Pieces>,
    received: Vec<u8>,
}

impl Client {
    fn new(api: &Arc<Api>, headers: &[(&'static str, &'static str)]) -> Self {
        let (sender, pieces) = mpsc::unbounded_channel();
        let mut request = http::Request::new(Pieces(pieces));
        for &(name, value) in headers {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        Self {
            sender: Some(sender),
            stream: Conversation::new(
                Caller::new(Arc::clone(api), Identity::Anonymous, Entrance::Grpc),
                Encodings::default(),
                request,
            ),
            received: Vec::new(),
        }
    }

    fn send(&self, message: &pb::ModelInferRequest) {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.send_bytes([&[0], &length[..], &message].concat());
    }

    fn send_bytes(&self, bytes: impl Into<Bytes>) {
        self.sender.as_ref().unwrap().send(bytes.into()).unwrap();
    }

    fn half_close(&mut self) {
        self.sender = None;
    }

    /// The next message, or how the stream ended.
    async fn next(&mut self) -> Result<pb::ModelStreamInferResponse, Status> {
        use http_body_util::BodyExt;
        loop {
            if let Some((head, _)) = self.received.split_first_chunk::<5>() {
                let length = u32::from_be_bytes(head[1..].try_into().unwrap());
                let end = 5 + usize::try_from(length).unwrap();
                if end <= self.received.len() {
                    let message = self.received.drain(..end).skip(5).collect::<Vec<_>>();
                    return Ok(pb::ModelStreamInferResponse::decode(&*message).unwrap());
                }
            }
            let frame = self
                .stream
                .frame()
                .await
                .expect("no frame follows")
                .unwrap();
            match frame.into_data() {
                Ok(data) => self.received.extend(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    return Err(Status::from_header_map(&trailers).unwrap());
                }
            }
        }
    }

    /// The next response as `id:value` or `id!error`; `.` after the last.
    async fn line(&mut self) -> String {
        let message = match self.next().await {
            Ok(message) => message,
            Err(status) => return format!("{:?} {}", status.code(), status.message()),
        };
        let response = message.infer_response.unwrap();
        let last = response.parameters.get("triton_final_response");
        let last = last
            .is_some_and(|last| last.parameter_choice == Some(ParameterChoice::BoolParam(true)));
        let value = match (
            &*message.error_message,
            response.raw_output_contents.first(),
        ) {
            ("", Some(bytes)) => format!(":{}", i32::from_le_bytes(bytes[..].try_into().unwrap())),
            ("", None) => String::new(),
            (error, _) => format!("!{error}"),
        };
        let end = if last { "." } else { "" };
        format!("{}{value}{end}", response.id)
    }

    async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines
    }
}

fn tensor(name: &str, datatype: &str, count: usize) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![i64::try_from(count).unwrap()],
        ..Default::default()
    }
}

fn words(values: &[i32]) -> Bytes {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A request to a `repeat` model.
fn repeat(id: &str, values: &[i32], delay: i32) -> pb::ModelInferRequest {
    pb::ModelInferRequest {
        model_name: "repeat".to_owned(),
        id: id.to_owned(),
        inputs: vec![
            tensor("IN", "INT32", values.len()),
            tensor("DELAY", "UINT32", values.len()),
            tensor("WAIT", "UINT32", 1),
        ],
        raw_input_contents: vec![
            words(values),
            words(&vec![delay; values.len()]),
            words(&[0]),
        ],
        ..Default::default()
    }
}

/// A request to a model with one response.
fn echo(model: &str, id: &str, value: i32) -> pb::ModelInferRequest {
    pb::ModelInferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![tensor("IN", "INT32", 1)],
        raw_input_contents: vec![words(&[value])],
        ..Default::default()
    }
}

const ECHO: &str = "backend: 'identity'
    input { name: 'IN' data_type: TYPE_INT32 dims: 1 }
    output { name: 'OUT' data_type: TYPE_INT32 dims: 1 }";

async fn models() -> Models {
    let slow =
        format!("{ECHO} parameters {{ key: 'execute_delay_ms' value {{ string_value: '100' }} }}");
    let repeat = "backend: 'repeat'
        input { name: 'IN' data_type: TYPE_INT32 dims: -1 }
        input { name: 'DELAY' data_type: TYPE_UINT32 dims: -1 }
        input { name: 'WAIT' data_type: TYPE_UINT32 dims: 1 }
        output { name: 'OUT' data_type: TYPE_INT32 dims: 1 }
        output { name: 'IDX' data_type: TYPE_UINT32 dims: 1 }
        model_transaction_policy { decoupled: true }";
    with_models(&[("echo", ECHO), ("slow", &slow), ("repeat", repeat)]).await
}

#[tokio::test]
async fn requests_with_one_response_are_answered_in_their_order() {
    let models = models().await;
    let mut client = Client::new(&models.api, &[]);
    client.send(&echo("slow", "a", 1));
    client.send(&echo("echo", "b", 2));
    client.send(&echo("nowhere", "c", 3));
    client.send(&echo("echo", "d", 4));
    client.half_close();
    assert_eq!(client.lines(2).await, ["a:1.", "b:2."]);
    let unknown = "c!Request for unknown model: 'nowhere' is not found";
    assert_eq!(client.lines(3).await, [unknown, "d:4.", "Ok "]);
}

#[tokio::test]
async fn decoupled_responses_come_as_they_are_made() {
    let models = models().await;
    let mut client = Client::new(&models.api, &[]);
    client.send(&echo("slow", "slow", 9));
    client.send(&repeat("r", &[5, 6], 0));
    assert_eq!(client.lines(3).await, ["r:5", "r:6", "slow:9."]);
    client.half_close();
    assert_eq!(client.line().await, "Ok ");
}

#[tokio::test]
async fn an_end_without_a_response_is_told_to_who_asks_for_it() {
    let models = models().await;
    let mut client = Client::new(&models.api, &[]);
    let mut request = repeat("r", &[7], 0);
    request.parameters = HashMap::from([(
        "triton_enable_empty_final_response".to_owned(),
        pb::InferParameter {
            parameter_choice: Some(ParameterChoice::BoolParam(true)),
        },
    )]);
    client.send(&request);
    assert_eq!(client.lines(2).await, ["r:7", "r."]);
    request.raw_input_contents = vec![words(&[]), words(&[]), words(&[0])];
    request.inputs[0].shape = vec![0];
    request.inputs[1].shape = vec![0];
    client.send(&request);
    let empty = client.next().await.unwrap().infer_response.unwrap();
    assert_eq!((&*empty.model_name, &*empty.model_version), ("repeat", ""));
    assert!(empty.outputs.is_empty() && empty.parameters.len() == 1);
    client.send(&repeat("silent", &[], 0));
    client.half_close();
    assert_eq!(client.line().await, "Ok ");
}

#[tokio::test]
async fn failures_are_written_on_the_stream_or_end_it_as_the_client_wants() {
    let models = models().await;
    let uneven = || {
        let mut request = repeat("bad", &[1], 0);
        request.inputs[1].shape = vec![2];
        request.raw_input_contents[1] = words(&[0, 0]);
        request
    };
    let mut client = Client::new(&models.api, &[]);
    client.send(&uneven());
    client.send(&repeat("good", &[3], 200));
    let failure = client.line().await;
    assert!(
        failure.starts_with("bad!expected IN and DELAY shape to match"),
        "{failure}"
    );
    assert!(failure.ends_with('.'), "a failure ends the answer");
    assert_eq!(client.line().await, "good:3");

    let mut client = Client::new(&models.api, &[("triton_grpc_error", "true")]);
    client.send(&echo("nowhere", "c", 3));
    assert!(client.line().await.starts_with("c!"), "it was not begun");
    client.send(&repeat("other", &[3], 10_000));
    client.send(&uneven());
    let status = client.line().await;
    assert!(
        status.starts_with("InvalidArgument expected IN and DELAY"),
        "{status}"
    );
    assert_eq!(client.stream.in_flight, 0, "the others are cancelled");
}

#[tokio::test]
async fn a_stream_is_not_read_while_it_has_enough_in_flight() {
    for (requests, bytes, in_flight) in
        [(2, usize::MAX, 2), (100, 1, 1), (0, 0, 1), (3, 1 << 20, 3)]
    {
        let mut models = models().await;
        let limits = &mut Arc::get_mut(&mut models.api).unwrap().limits;
        (limits.requests_per_stream, limits.stream_byte_size) = (requests, bytes);
        let mut client = Client::new(&models.api, &[]);
        for id in ["a", "b", "c", "d"] {
            client.send(&repeat(id, &[1], 60_000));
        }
        let mut context = Context::from_waker(Waker::noop());
        let sent = Pin::new(&mut client.stream).poll_frame(&mut context);
        assert!(sent.is_pending());
        assert_eq!(client.stream.in_flight, in_flight);
    }
}

#[tokio::test]
async fn what_is_no_request_ends_the_stream() {
    let api = empty_api();
    for (bytes, want) in [
        (&b"\0\0\0\0\x01\xff"[..], "InvalidArgument failed to decode"),
        (
            b"\x01\0\0\0\x01a",
            "InvalidArgument the message is marked as compressed",
        ),
        (b"\x02\0\0\0\x01a", "InvalidArgument failed to decode"),
        (
            b"\0\xff\xff\xff\xff",
            "ResourceExhausted request body of 4294967295 bytes",
        ),
        (
            b"\0\0\0",
            "InvalidArgument failed to decode the request message: the stream ended within",
        ),
    ] {
        let mut client = Client::new(&api, &[]);
        client.send_bytes(bytes);
        client.half_close();
        let status = client.line().await;
        assert!(status.starts_with(want), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_idle_but_not_within_a_message_and_not_beyond_its_deadline() {
    let api = empty_api();
    let mut client = Client::new(&api, &[]);
    let idle = tokio::time::timeout(Duration::from_secs(86_400), client.line());
    assert!(idle.await.is_err());
    client.send_bytes(&b"\0\0"[..]);
    let status = client.line().await;
    assert!(
        status.starts_with("Cancelled the request message stopped"),
        "{status}"
    );

    let mut client = Client::new(&api, &[("grpc-timeout", "2S")]);
    assert_eq!(client.line().await, "DeadlineExceeded Deadline Exceeded");
}

#[tokio::test]
async fn an_exiting_server_answers_what_is_in_flight_and_then_ends_its_streams() {
    let models = models().await;
    let mut client = Client::new(&models.api, &[]);
    client.send(&echo("slow", "a", 1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        Pin::new(&mut client.stream)
            .poll_frame(&mut context)
            .is_pending()
    );
    models.api.readiness.set(Stage::Exiting);
    client.send(&echo("echo", "late", 2));
    assert_eq!(client.line().await, "a:1.");
    assert_eq!(
        client.line().await,
        "Unavailable GRPC server is shutting down and has stopped accepting new requests."
    );
}
