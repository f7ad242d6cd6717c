//! Every limit, on both front doors of a running server: what is just within it is answered, and
//! what is just beyond it is refused with the limit in the message.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod control;
mod counts;
mod shared;
mod sizes;

use std::{fs, path::Path};

use bytes::Bytes;
use common::{Answer, Connection, Repository, Server, identity_config};
use despina::proto::inference::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// A server with these lines under `limits`, and a way to call it over gRPC.
struct Limited {
    server: Server,
    runtime: Runtime,
    _repository: Repository,
}

impl Limited {
    /// Serves `echo` (bytes of any number), `pair` (two of them) and `cube` (three dimensions).
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
        for (model, tensors) in [("pair", pair.concat()), ("cube", cube.concat())] {
            let config = format!("backend: \"identity\"\nmax_batch_size: 0\n{tensors}");
            repository.add(model, &config, &[1]);
        }
        let config = repository.path().with_file_name("server.yaml");
        write_config(&config, limits, settings);
        let config = config.to_str().expect("path");
        let server = Server::start_plain(repository.path(), &["--config", config]);
        let runtime = tokio::runtime::Builder::new_current_thread()
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
        self.runtime.block_on(async {
            let mut client = GrpcInferenceServiceClient::new(self.connect().await?);
            client.model_infer(request).await.map(drop)
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
