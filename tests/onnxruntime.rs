//! The onnxruntime backend's settings, with the real library: options of sessions, execution
//! providers that are not there, and GPUs that only a pretend driver has.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use common::{PATIENCE, Repository, Server, allowed_cores, fixtures, python};

const FLAGS: [&str; 1] = ["--strict-readiness=false"];

/// Adds a model that answers with its input, of any two dimensions `a` and `b`.
fn add(repository: &Repository, model: &str, dims: &str, rest: &str) {
    let config = format!(
        "platform: \"onnxruntime_onnx\"\n\
         input {{ name: \"INPUT0\" data_type: TYPE_FP32 dims: {dims} }}\n\
         output {{ name: \"OUTPUT0\" data_type: TYPE_FP32 dims: {dims} }}\n{rest}\n"
    );
    repository.add(model, &config, &[1]);
    let file = fixtures().join("onnx_fp32_nobatch/1/model.onnx");
    let target = repository.path().join(model).join("1/model.onnx");
    fs::copy(file, target).expect("model.onnx");
}

fn parameters(pairs: &[(&str, &str)]) -> String {
    let one = |&(key, value): &(&str, &str)| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
    };
    pairs.iter().map(one).collect()
}

fn answers(server: &Server, model: &str) {
    let body = r#"{"inputs":[{"name":"INPUT0","shape":[1,2],"datatype":"FP32","data":[1.5,2.5]}]}"#;
    for _ in 0..3 {
        let answer = server.call("POST", &format!("/v2/models/{model}/infer"), body);
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let data = &answer.json()["outputs"][0]["data"];
        assert_eq!(data.to_string(), "[1.5,2.5]", "{model}");
    }
}

/// Why the model is not ready.
fn reason(server: &Server, model: &str) -> String {
    let index = server.call("POST", "/v2/repository/index", "").json();
    let entries = index.as_array().expect("index");
    let entry = entries.iter().find(|entry| entry["name"] == model);
    entry.expect("the model")["reason"].to_string()
}

#[test]
fn sessions_take_tritons_options_and_answer_as_before() {
    let repository = Repository::empty();
    let free = "[ -1, -1 ]";
    let tuned = [
        ("enable_mem_arena", "0"),
        ("enable_mem_pattern", "1"),
        ("session.disable_prepacking", "1"),
        ("optimization.enable_gelu_approximation", "1"),
    ];
    add(&repository, "tuned", free, &parameters(&tuned));
    let shrunk = [("memory.enable_memory_arena_shrinkage", "cpu:0")];
    add(&repository, "shrunk", free, &parameters(&shrunk));
    let fixed = [("free_dimension_override.b", "2")];
    add(&repository, "fixed", "[ -1, 2 ]", &parameters(&fixed));
    let pooled = [
        ("intra_op_thread_count", "2"),
        ("inter_op_thread_count", "2"),
        ("execution_mode", "1"),
    ];
    let one = "instance_group { kind: KIND_CPU count: 1 }\n";
    add(&repository, "pooled", free, &(parameters(&pooled) + one));
    let slip = [("session.disable_prepack", "1")];
    add(&repository, "misspelt", free, &parameters(&slip));

    // Threads that an engine starts for one instance are bound like it.
    let allowed = allowed_cores(Path::new("/proc/self/status"));
    let last = allowed.rsplit(['-', ',']).next().expect("a core");
    let policy = format!("--host-policy=cpu,cpu-cores={last}");
    let server = Server::start(repository.path(), &[FLAGS[0], &policy]);
    for model in ["tuned", "shrunk", "fixed", "pooled"] {
        answers(&server, model);
    }
    let bound = server.cores_of("pooled_0_0");
    assert!(bound.len() > 1, "no threads of its own: {bound:?}");
    assert!(bound.iter().all(|cores| cores == last), "{bound:?}");
    let reason = reason(&server, "misspelt");
    assert!(
        reason.contains("did you mean 'session.disable_prepacking'?"),
        "{reason}"
    );
    server.stop();
}

#[test]
fn an_accelerator_that_is_not_there_is_a_reason_in_one_line() {
    let repository = Repository::empty();
    let accelerator = "optimization { execution_accelerators {
        cpu_execution_accelerator { name: \"openvino\" } } }";
    add(&repository, "wants_openvino", "[ -1, -1 ]", accelerator);
    let server = Server::start(repository.path(), &FLAGS);
    let reason = reason(&server, "wants_openvino");
    assert!(
        reason.contains("asks for the execution accelerator 'openvino': ONNX Runtime at")
            && reason.contains("is built without its OpenVINO provider"),
        "{reason}"
    );
    server.stop();
}

#[test]
fn without_a_cuda_provider_models_for_gpus_run_on_the_cpu_and_that_shows() {
    let repository = Repository::empty();
    let free = "[ -1, -1 ]";
    let on_gpus = "instance_group { kind: KIND_GPU }\n";
    add(&repository, "on_gpus", free, on_gpus);
    add(&repository, "on_any", free, "");
    let none = parameters(&[("device_fallback", "none")]);
    add(
        &repository,
        "on_gpus_only",
        free,
        &(on_gpus.to_owned() + &none),
    );

    let driver = tempfile::tempdir().expect("folder");
    fake_cuda::install(driver.path()).expect("the pretend driver");
    let library = python().onnxruntime;
    let environment = [
        ("LD_LIBRARY_PATH", driver.path().to_str().expect("path")),
        ("ORT_DYLIB_PATH", library.to_str().expect("path")),
        ("FAKE_CUDA_DEVICES", "3"),
    ];
    let server = Server::start_in(repository.path(), &FLAGS, &environment);
    // One for each GPU that it was to run on; two on the CPU by default.
    for (model, count) in [("on_gpus", 3), ("on_any", 2)] {
        answers(&server, model);
        let config = server.call("GET", &format!("/v2/models/{model}/config"), "");
        let group = &config.json()["instance_group"][0];
        assert_eq!(group["kind"], "KIND_CPU", "{group}");
        assert_eq!(group["count"], count, "{group}");
    }
    let reason = reason(&server, "on_gpus_only");
    assert!(
        reason.contains("is built without its CUDA provider"),
        "{reason}"
    );
    server.terminate();
    let log = server.wait(PATIENCE).stderr;
    let line = log
        .lines()
        .find(|line| line.contains("runs elsewhere"))
        .unwrap_or_else(|| panic!("not logged:\n{log}"));
    assert!(
        line.contains("on_gpus") && line.contains("is built without its CUDA provider"),
        "{line}"
    );
}
