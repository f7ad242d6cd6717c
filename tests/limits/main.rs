//! Every limit, on both front doors of a running server: what is just within it is answered, and
//! what is just beyond it is refused with the limit in the message.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod access;
#[path = "../common/mod.rs"]
mod common;
mod control;
mod counts;
mod every;
mod leftovers;
mod shared;
mod sizes;
mod streams;
mod waiting;

use std::{convert::Infallible, fs, future::poll_fn, path::Path};

use bytes::Bytes;
use common::{Answer, Connection, Repository, Server, identity_config};
use despina::proto::inference::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::{
    Status,
    codegen::{
        Service,
        tokio_stream::{self, StreamExt},
    },
    transport::{Channel, Endpoint},
};

const REPEAT: &str = r#"
backend: "repeat"
max_batch_size: 0
input { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] }
input { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] }
input { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }
model_transaction_policy { decoupled: true }
dynamic_batching { preserve_ordering: true }
instance_group { kind: KIND_CPU count: 1 }
"#;

/// A server with these lines under `limits`, and a way to call it over gRPC.
struct Limited {
    server: Server,
    runtime: Runtime,
    _repository: Repository,
}

impl Limited {
    /// Serves `echo` (bytes of any number), `pair` (two of them), `cube` (three dimensions), and
    /// `repeat` (as many responses as elements, in the requests' order).
    fn new(limits: &[&str]) -> Self {
        Self::with(limits, "")
    }

    /// As [`Limited::new`], with `settings` besides the limits.
    fn with(limits: &[&str], settings: &str) -> Self {
        let repository = Repository::empty();
        repository.add("echo", &identity_config("TYPE_UINT8", 0, ""), &[1]);
        let tensor = |kind: &str, name: &str, dims: &str| {
            format!("{kind} {{ name: \"{name}\" data_type: TYPE_UINT8 dims: {dims} }}\n")
        };
        let pair = [
            tensor("input", "INPUT0", "[ -1 ]"),
            tensor("input", "INPUT1", "[ -1 ]"),
            tensor("output", "OUTPUT0", "[ -1 ]"),
            tensor("output", "OUTPUT1", "[ -1 ]"),
        ];
        let cube = [
            tensor("input", "INPUT0", "[ -1, -1, -1 ]"),
            tensor("output", "OUTPUT0", "[ -1, -1, -1 ]"),
        ];
        repository.add("repeat", REPEAT, &[1]);
        for (model, tensors) in [("pair", pair.concat()), ("cube", cube.concat())] {
            let config = format!("backend: \"identity\"\nmax_batch_size: 0\n{tensors}");
            repository.add(model, &config, &[1]);
        }
        let config = repository.path().with_file_name("server.yaml");
        write_config(&config, limits, settings);
        let config = config.to_str().expect("path");
        let server = Server::start_plain(repository.path(), &["--config", config]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        Self {
            server,
            runtime,
            _repository: repository,
        }
    }

    /// Sends a body over HTTP.
    fn post(&self, model: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = Connection::open(self.server.http).expect("connect");
        let path = format!("/v2/models/{model}/infer");
        connection
            .request("POST", &path, headers, body)
            .expect("an answer")
    }

    /// Sends a request over gRPC, on a connection of its own.
    fn call(&self, request: ModelInferRequest) -> Result<(), Status> {
        self.ask(async |mut client| client.model_infer(request).await.map(drop))
    }

    /// Asks something over gRPC, on a connection of its own.
    fn ask(
        &self,
        question: impl AsyncFnOnce(GrpcInferenceServiceClient<Channel>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        self.runtime.block_on(async {
            let channel = self.connect().await?;
            question(GrpcInferenceServiceClient::new(channel)).await
        })
    }

    /// Calls `ModelInfer` with header fields and pieces of a message, each a frame of its own. A body
    /// that is not whole stays open.
    fn call_in_pieces(
        &self,
        fields: &[(&str, &str)],
        pieces: impl IntoIterator<Item = Bytes>,
        stays_open: bool,
    ) -> Result<(), Status> {
        let frames: Vec<_> = pieces.into_iter().map(|it| Ok(Frame::data(it))).collect();
        let frames = tokio_stream::iter::<Vec<Result<_, Infallible>>>(frames);
        let body = if stays_open {
            tonic::body::Body::new(StreamBody::new(frames.chain(tokio_stream::pending())))
        } else {
            tonic::body::Body::new(StreamBody::new(frames))
        };
        let mut request = http::Request::post("/inference.GRPCInferenceService/ModelInfer")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("request");
        self.runtime.block_on(async {
            let mut channel = self.connect().await?;
            poll_fn(|context| channel.poll_ready(context))
                .await
                .expect("ready");
            let response = channel.call(request).await.expect("an answer");
            // A refusal is told in the header fields, a success in the trailers.
            Status::from_header_map(response.headers()).map_or(Ok(()), Err)
        })
    }

    async fn connect(&self) -> Result<Channel, Status> {
        let address = format!("http://{}", self.server.grpc);
        let endpoint = Endpoint::from_shared(address).expect("address");
        let failed = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        endpoint.connect().await.map_err(failed)
    }
}

fn write_config(path: &Path, limits: &[&str], settings: &str) {
    let lines: String = limits.iter().map(|line| format!("  {line}\n")).collect();
    fs::write(path, format!("{settings}limits:\n{lines}")).expect("server.yaml");
}

/// A message as gRPC writes it, compressed or not.
fn framed(is_compressed: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("length").to_be_bytes();
    [&[is_compressed][..], &length, message].concat().into()
}

/// Fails unless the answer is a success.
fn within(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Fails unless the answer has this status and these words.
fn beyond(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(words), "{}", answer.text());
}

/// Fails unless the call was refused with this code and these words.
fn refused(outcome: Result<(), Status>, code: tonic::Code, words: &str) {
    let status = outcome.expect_err("beyond the limit");
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(words), "{status:?}");
}

/// A request for `echo` with `size` bytes, in binary: its header fields and its body.
fn binary(size: usize) -> (String, Vec<u8>) {
    let json = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{"name": "INPUT0", "shape": [size], "datatype": "UINT8",
                    "parameters": {"binary_data_size": size}}]})
    .to_string();
    let body = [json.as_bytes(), &vec![0; size]].concat();
    (json.len().to_string(), body)
}

/// `binary`, sent with these header fields besides its own.
fn post_binary(limited: &Limited, size: usize) -> Answer {
    let (length, body) = binary(size);
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    limited.post("echo", &headers, &body)
}

/// A request for `echo` with one byte, as JSON, after `change`.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut request =
        json!({"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "UINT8", "data": [7]}]});
    change(&mut request);
    request.to_string().into_bytes()
}

/// An input with as many bytes as its shape says.
fn input(name: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "UINT8".to_owned(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

/// A request for `model` with `inputs` of one dimension, each of `size` bytes.
fn message(model: &str, inputs: &[&str], size: usize) -> ModelInferRequest {
    let shape = [i64::try_from(size).expect("size")];
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: inputs.iter().map(|name| input(name, &shape)).collect(),
        raw_input_contents: vec![Bytes::from(vec![0; size]); inputs.len()],
        ..Default::default()
    }
}
