//! Malformed input: a table of wrong requests over HTTP, raw sockets and gRPC. Each has the status
//! that it must get; after each the server still answers a right request.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod grpc;
mod http;
mod shared_memory;
mod wire;

use common::{Connection, Repository, Server, identity_config};

/// A batching model of two FP32 inputs of four elements (`pair`), a BYTES one (`text`), a BOOL one
/// (`truth`), all of the identity backend.
fn server() -> (Repository, Server) {
    let repository = Repository::empty();
    let tensor = |kind: &str, name: &str| {
        format!("{kind} {{ name: \"{name}\" data_type: TYPE_FP32 dims: [ 4 ] }}\n")
    };
    let pair = [
        "backend: \"identity\"\nmax_batch_size: 8\n".to_owned(),
        tensor("input", "INPUT0"),
        tensor("input", "INPUT1"),
        tensor("output", "OUTPUT0"),
        tensor("output", "OUTPUT1"),
    ]
    .concat();
    repository.add("pair", &pair, &[1]);
    repository.add("text", &identity_config("TYPE_STRING", 0, ""), &[1]);
    repository.add("truth", &identity_config("TYPE_BOOL", 0, ""), &[1]);
    let flags = [
        "--model-control-mode",
        "explicit",
        "--load-model",
        "pair",
        "--load-model",
        "text",
        "--load-model",
        "truth",
        "--allow-client-shm=true",
    ];
    let server = Server::start_plain(repository.path(), &flags);
    (repository, server)
}

/// Fails unless a right request gets its right answer.
fn still_answers(server: &Server, after: &str) {
    let mut connection = Connection::open(server.http)
        .unwrap_or_else(|error| panic!("no connection after {after:?}: {error}"));
    let answer = connection
        .post("/v2/models/pair/infer", &right_json())
        .unwrap_or_else(|error| panic!("no answer after {after:?}: {error}"));
    assert_eq!(answer.status, 200, "after {after:?}: {}", answer.text());
    let data = answer.json()["outputs"][1]["data"].clone();
    assert_eq!(
        data,
        serde_json::json!([5.0, 6.0, 7.0, 8.0]),
        "after {after:?}"
    );
}

fn right_json() -> String {
    serde_json::json!({
        "inputs": [
            {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
            {"name": "INPUT1", "shape": [1, 4], "datatype": "FP32", "data": [5, 6, 7, 8]},
        ]
    })
    .to_string()
}
