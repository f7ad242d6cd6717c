//! The protocols as their real clients see them: each test starts a server and runs one module of
//! `python/` against it, with tritonclient and ONNX Runtime.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use common::{Repository, Server, run_module};

/// Runs a module against a server of these models, started with these flags.
fn conforms(module: &str, repository: &Repository, flags: &[&str]) {
    let server = Server::start(repository.path(), flags);
    let folder = repository.path().to_str().expect("UTF-8");
    let doors = [server.http, server.grpc, server.metrics].map(|address| address.to_string());
    run_module(
        module,
        &[
            ("DESPINA_HTTP", &doors[0]),
            ("DESPINA_GRPC", &doors[1]),
            ("DESPINA_METRICS", &doors[2]),
            ("DESPINA_REPOSITORY", folder),
        ],
    );
    server.stop();
}

#[test]
fn health_metadata_configuration_index_and_statistics() {
    conforms("test_control", &Repository::with_all(), &[]);
}

#[test]
fn every_datatype_in_every_encoding_equals_onnx_runtime() {
    conforms("test_infer", &Repository::with_all(), &[]);
}

#[test]
fn outputs_ids_parameters_and_odd_contents() {
    conforms("test_content", &Repository::with_all(), &[]);
}

#[test]
fn classes_of_every_numeric_datatype_with_their_labels() {
    let repository = Repository::with_all();
    repository.add_sample("digits");
    conforms("test_classification", &repository, &[]);
}

#[test]
fn compressed_requests_and_answers() {
    let flags = ["--grpc-infer-response-compression-level=high"];
    conforms(
        "test_compression",
        &Repository::with(&["addsub_fp32", "nop"]),
        &flags,
    );
}

#[test]
fn tensors_in_shared_memory() {
    let models = ["addsub_fp32", "bytes_nobatch", "nop", "slow"];
    let flags = ["--allow-client-shm=true"];
    conforms("test_shared_memory", &Repository::with(&models), &flags);
}

#[test]
fn batching_queue_limits_and_clients_that_go_away() {
    let models = ["batched", "short_patience", "slow", "small_queue"];
    conforms("test_async", &Repository::with(&models), &[]);
}

#[test]
fn streams_and_decoupled_models() {
    let models = ["plain", "repeat_int32", "slow"];
    conforms("test_stream", &Repository::with(&models), &[]);
}

#[test]
fn generate_as_json_and_as_events() {
    conforms("test_generate", &Repository::with_all(), &[]);
}

#[test]
fn clients_are_told_what_is_wrong_in_the_words_they_match() {
    let models = ["addsub_fp32", "nop", "variable"];
    conforms("test_errors", &Repository::with(&models), &[]);
}

#[test]
fn models_are_loaded_and_unloaded_by_api() {
    let repository = Repository::with(&["complete", "nop", "simulated", "versions"]);
    let flags = [
        "--model-control-mode",
        "explicit",
        "--load-model",
        "complete",
    ];
    conforms("test_explicit", &repository, &flags);
}

#[test]
fn a_polled_repository_is_followed() {
    let flags = [
        "--model-control-mode",
        "poll",
        "--repository-poll-secs",
        "1",
    ];
    conforms("test_poll", &Repository::with(&["versions"]), &flags);
}

#[test]
fn header_fields_lock_calls_and_become_parameters() {
    let flags = [
        "--http-header-forward-pattern=my_header.*|priority",
        "--grpc-header-forward-pattern=my_header.*|priority",
        "--http-restricted-api=model-repository,trace:admin-key=secret",
        "--http-restricted-api=statistics:other-key=other",
        "--grpc-restricted-protocol=model-repository,trace:admin-key=secret",
    ];
    conforms("test_headers", &Repository::with(&["versions"]), &flags);
}

#[test]
fn requests_are_traced_as_told_by_api() {
    let repository = Repository::with(&["complete", "versions"]);
    let file = repository.path().with_file_name("trace.json");
    let file = format!("triton,file={}", file.display());
    let mut flags = vec!["--trace-config", &file];
    for setting in ["level=TIMESTAMPS", "rate=1"] {
        flags.extend(["--trace-config", setting]);
    }
    conforms("test_trace", &repository, &flags);
}

#[test]
fn logging_is_changed_by_api() {
    let repository = Repository::with(&["nop"]);
    let file = repository.path().with_file_name("server.log");
    let flags = ["--log-file", file.to_str().expect("UTF-8")];
    conforms("test_logging", &repository, &flags);
}

#[test]
fn metrics_have_the_names_and_values_that_dashboards_know() {
    let models = ["addsub_int32", "complete", "nop", "versions"];
    conforms("test_metrics", &Repository::with(&models), &[]);
}
