//! Probes of an orchestrator, asked of the running server.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{Repository, Server, call, identity_config, wait_until};

const PROBES: [&str; 5] = [
    "/livez",
    "/startupz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
];

/// What an orchestrator waits at most.
const BOUND: Duration = Duration::from_millis(50);

fn parameter(key: &str, value: &str) -> String {
    format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}")
}

#[test]
fn probes_answer_while_a_model_loads_and_every_instance_is_busy() {
    let repository = Repository::empty();
    let busy = identity_config("TYPE_FP32", 0, &parameter("execute_delay_ms", "400"));
    repository.add("busy", &busy, &[1]);
    let late = identity_config("TYPE_FP32", 0, &parameter("creation_delay_sec", "60"));
    repository.add("late", &late, &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "busy"];
    let server = Server::start_plain(repository.path(), &flags);
    let address = server.http;
    assert_eq!(server.call("GET", "/readyz", "").status, 200);

    thread::spawn(move || call(address, "POST", "/v2/repository/models/late/load", "{}"));
    let input = r#"{"inputs":[{"name":"INPUT0","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    for _ in 0..16 {
        thread::spawn(
            move || {
                while call(address, "POST", "/v2/models/busy/infer", input).is_ok() {}
            },
        );
    }
    wait_until("the model is being loaded", || {
        server.call("GET", "/readyz", "").status == 503
    });

    for probe in PROBES {
        let mut times: Vec<_> = (0..21)
            .map(|_| {
                let begin = Instant::now();
                server.call("GET", probe, "");
                begin.elapsed()
            })
            .collect();
        times.sort();
        // The middle one: a machine that is busy with other things may delay some.
        assert!(times[10] < BOUND, "{probe}: {times:?}");
    }
    let ready = server.call("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reason"], "not every model is ready");
    assert_eq!(ready.json()["models"][0]["name"], "late");
    assert_eq!(ready.json()["models"][0]["state"], "LOADING");
    assert_eq!(server.call("GET", "/livez", "").status, 200);
    assert_eq!(server.call("GET", "/startupz", "").status, 200);
}

#[test]
fn a_required_model_decides_whatever_becomes_of_the_others() {
    let repository = Repository::empty();
    repository.add("good", &identity_config("TYPE_FP32", 0, ""), &[1]);
    repository.add("bad", "backend: \"nothing\"", &[1]);
    let of = |flags: &[&str]| Server::start_plain(repository.path(), flags);

    let server = of(&[]);
    let ready = server.call("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["models"][0]["name"], "bad");
    server.stop();

    let server = of(&["--readiness-models", "any"]);
    assert_eq!(server.call("GET", "/readyz", "").status, 200);
    assert_eq!(server.call("GET", "/readyz", "").json()["status"], "ok");
    server.stop();

    let server = of(&["--required-model", "good"]);
    assert_eq!(server.call("GET", "/readyz", "").status, 200);
    server.stop();

    let server = of(&["--required-model", "good", "--required-model", "bad"]);
    let ready = server.call("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reason"], "a required model is not ready");
    server.stop();
}
