//! `despina tune` on the sample models, by the real binary: what it prints, what it writes, and that the
//! server then serves the model so.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{fs, process::Command};

use common::{Repository, Server, identity_config, python};
use serde_json::Value;

/// So short that nothing can be said about speed.
const SHORT: [&str; 5] = ["--rounds", "1", "--measurement-interval", "10", "--quiet"];

fn tune(repository: &Repository, flags: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .arg("tune")
        .arg(repository.path())
        .args(SHORT)
        .args(flags)
        .env("ORT_DYLIB_PATH", python().onnxruntime)
        .output()
        .expect("despina tune");
    (
        String::from_utf8(output.stdout).expect("UTF-8"),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code().expect("an exit code"),
    )
}

fn samples(models: &[&str]) -> Repository {
    let repository = Repository::empty();
    for model in models {
        repository.add_sample(model);
    }
    repository
}

fn config_of(repository: &Repository, model: &str) -> Option<String> {
    fs::read_to_string(repository.path().join(model).join("config.pbtxt")).ok()
}

#[test]
fn what_is_printed_is_written_and_then_served() {
    let repository = samples(&["digits", "iot_anomaly"]);
    let written = config_of(&repository, "digits").expect("a configuration");
    let (stdout, stderr, code) = tune(&repository, &["--json", "--write"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    let models = report["models"].as_array().expect("models");
    assert_eq!(models.len(), 2, "{report:#}");
    for model in models {
        let candidates = model["candidates"].as_array().expect("candidates");
        assert!(candidates.len() > 3, "{model:#}");
        for candidate in candidates {
            assert_eq!(candidate["fault"], Value::Null, "{candidate:#}");
            assert!(
                candidate["rate"]["median"].as_f64() > Some(0.0),
                "{candidate:#}"
            );
        }
        let sizes = model["curve"].as_array().expect("a curve");
        assert!(sizes.len() > 1, "{model:#}");
        let name = model["model"].as_str().expect("a name");
        let due = match (name, model["config"].as_str().expect("text")) {
            ("digits", added) => Some(format!("{written}{added}")),
            (_, "") => None,
            (_, whole) => Some(whole.to_owned()),
        };
        assert_eq!(config_of(&repository, name), due, "{name}");
    }
    let server = Server::start(repository.path(), &[]);
    for model in models {
        let name = model["model"].as_str().expect("a name");
        let answer = server.call("GET", &format!("/v2/models/{name}/config"), "");
        assert_eq!(answer.status, 200);
        let served: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let parameters = served["parameters"].as_object().expect("parameters");
        let config = model["config"].as_str().expect("text");
        assert_eq!(parameters.len(), config.matches("parameters {").count());
        for (key, value) in parameters {
            let value = value["string_value"].as_str().expect("a value");
            let line = format!("key: \"{key}\"\n  value: {{ string_value: \"{value}\" }}");
            assert!(config.contains(&line), "{config}");
        }
    }
}

#[test]
fn nothing_is_changed_unless_that_is_asked() {
    let repository = samples(&["fraud"]);
    let before = config_of(&repository, "fraud");
    let flags = [
        "-m",
        "fraud",
        "--objective",
        "latency",
        "--concurrency",
        "2",
    ];
    let (stdout, stderr, code) = tune(&repository, &flags);
    assert_eq!(code, 0, "{stderr}");
    for part in ["latency on", "2 requests", "as it is", "GAIN", "ROWS/S"] {
        assert!(stdout.contains(part), "no {part} in\n{stdout}");
    }
    // Its configuration says how many instances there are.
    assert!(!stdout.contains("instances 2"), "{stdout}");
    assert!(stdout.contains("for its config.pbtxt:") || stdout.contains("best as it is"));
    assert_eq!(config_of(&repository, "fraud"), before);
}

#[test]
fn models_that_are_not_tuned_are_named_with_the_reason() {
    let repository = Repository::empty();
    repository.add("echo", &identity_config("TYPE_FP32", 8, ""), &[1]);
    let (_, stderr, code) = tune(&repository, &["-m", "echo"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("model echo: it runs on backend 'identity'"),
        "{stderr}"
    );
    let (stdout, _, code) = tune(&repository, &[]);
    assert_eq!(code, 1);
    assert!(
        stdout.starts_with("echo: not tuned: it runs on backend"),
        "{stdout}"
    );
    let (_, stderr, code) = tune(&repository, &["-m", "other"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no model other"), "{stderr}");
}
