//! Hot reload under load: models change a thousand times while clients run. No request fails, and
//! none that was sent after a swap was acknowledged is answered by what was there before.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use common::{Connection, Repository, Server, fixtures, identity_config};

const CLIENTS: usize = 4;
const FLAGS: [&str; 2] = ["--model-control-mode", "explicit"];

/// How far the swapping has come.
#[derive(Default)]
struct Progress {
    /// The generation whose load was asked for last.
    asked: AtomicU64,
    /// The generation whose load was acknowledged last.
    acknowledged: AtomicU64,
    finished: AtomicBool,
}

/// The generations that may answer a request: from the one that was acknowledged when it was sent
/// to the one that was asked for when the answer came.
type Allowed = std::ops::RangeInclusive<u64>;

/// Swaps generations 2 to `last` with `swap`, which returns once the load was acknowledged, while
/// clients send `body` and `check` each answer. Returns the number of answers.
fn swap_under_load(
    http: SocketAddr,
    path: &str,
    body: &str,
    last: u64,
    swap: impl Fn(u64),
    check: impl Fn(&serde_json::Value, Allowed) + Sync,
) -> u64 {
    let progress = Progress {
        asked: 1.into(),
        acknowledged: 1.into(),
        ..Progress::default()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask_until_finished(http, path, body, &progress, &check)))
            .collect();
        for generation in 2..=last {
            if clients.iter().any(|client| client.is_finished()) {
                break; // One has failed; its panic is reported below.
            }
            progress.asked.store(generation, Ordering::SeqCst);
            swap(generation);
            progress.acknowledged.store(generation, Ordering::SeqCst);
        }
        progress.finished.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().expect("a client failed"))
            .sum()
    })
}

fn ask_until_finished(
    http: SocketAddr,
    path: &str,
    body: &str,
    progress: &Progress,
    check: impl Fn(&serde_json::Value, Allowed),
) -> u64 {
    let mut connection = Connection::open(http).expect("connect");
    let mut answers = 0;
    while !progress.finished.load(Ordering::SeqCst) {
        let oldest = progress.acknowledged.load(Ordering::SeqCst);
        let answer = connection.post(path, body).expect("a request failed");
        let newest = progress.asked.load(Ordering::SeqCst);
        assert_eq!(answer.status, 200, "{}", answer.text());
        check(&answer.json(), oldest..=newest);
        answers += 1;
    }
    answers
}

fn load(server: &Server, model: &str) {
    let answer = server.call("POST", &format!("/v2/repository/models/{model}/load"), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The `generation` fixture with its constant replaced, so that it adds `generation`. Even and
/// odd generations differ in length: no file looks unchanged because a clock stood still.
fn generation_model(generation: u64) -> Vec<u8> {
    const MARK: f32 = 987_654.25; // GENERATION_MARK of make_models.py
    let template = if generation.is_multiple_of(2) {
        "2"
    } else {
        "1"
    };
    let file = fixtures().join("generation").join(template);
    let mut bytes = fs::read(file.join("model.onnx")).expect("fixture");
    let places: Vec<usize> = (0..bytes.len() - 3)
        .filter(|&i| bytes[i..i + 4] == MARK.to_le_bytes())
        .collect();
    let [place] = places[..] else {
        panic!("the constant is there {} times", places.len());
    };
    let addend = f32::from(u16::try_from(generation).expect("few generations"));
    bytes[place..place + 4].copy_from_slice(&addend.to_le_bytes());
    bytes
}

#[test]
fn a_thousand_swaps_of_a_models_file_lose_no_request_and_none_is_answered_by_the_old_one() {
    const LAST: u64 = 1001;
    let repository = Repository::with(&["generation"]);
    let folder = repository.path().join("generation");
    fs::remove_dir_all(folder.join("2")).expect("leave one version");
    repository.replace("generation/1/model.onnx", &generation_model(1));
    let server = Server::start(
        repository.path(),
        &[&FLAGS[..], &["--load-model", "generation"]].concat(),
    );
    let answers = swap_under_load(
        server.http,
        "/v2/models/generation/infer",
        r#"{"inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","data":[0,0,0,0]}]}"#,
        LAST,
        |generation| {
            repository.replace("generation/1/model.onnx", &generation_model(generation));
            load(&server, "generation");
        },
        |answer, allowed| {
            let sums = answer["outputs"][0]["data"].as_array().expect("data");
            assert!(sums.iter().all(|sum| sum == &sums[0]), "torn: {sums:?}");
            let sum = sums[0].as_f64().expect("a number");
            assert!(
                allowed.clone().any(|generation| sum == generation as f64),
                "generation {sum} answered, allowed were {allowed:?}"
            );
        },
    );
    assert!(
        answers >= LAST,
        "only {answers} answers beside {LAST} swaps"
    );
    server.stop();
}

#[test]
fn version_flips_lose_no_request_and_none_is_answered_by_the_old_version() {
    let config = |version: u64| {
        // Padded so that two configurations never have one length.
        let padding = "#".repeat(usize::try_from(version).expect("small"));
        let policy =
            format!("version_policy {{ specific {{ versions: [ {version} ] }} }} {padding}");
        identity_config("TYPE_FP32", 8, &policy)
    };
    let repository = Repository::empty();
    repository.add("flip", &config(1), &[1, 2]);
    let server = Server::start_plain(
        repository.path(),
        &[&FLAGS[..], &["--load-model", "flip"]].concat(),
    );
    // Versions repeat, generations do not: odd ones are version 1, even ones version 2.
    let version_of = |generation: u64| if generation.is_multiple_of(2) { 2 } else { 1 };
    let answers = swap_under_load(
        server.http,
        "/v2/models/flip/infer",
        r#"{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[7]}]}"#,
        300,
        |generation| {
            let config = config(version_of(generation));
            repository.replace("flip/config.pbtxt", config.as_bytes());
            load(&server, "flip");
        },
        |answer, allowed| {
            assert_eq!(answer["outputs"][0]["data"][0].as_f64(), Some(7.0));
            let version: u64 = answer["model_version"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .expect("version");
            assert!(
                allowed
                    .clone()
                    .any(|generation| version == version_of(generation)),
                "version {version} answered, allowed were generations {allowed:?}"
            );
        },
    );
    assert!(answers >= 300, "only {answers} answers");
    server.stop();
}

#[test]
fn failed_loads_under_load_lose_no_request() {
    let repository = Repository::with(&["generation"]);
    fs::remove_dir_all(repository.path().join("generation/2")).expect("leave one version");
    let good = generation_model(1);
    repository.replace("generation/1/model.onnx", &good);
    let server = Server::start(
        repository.path(),
        &[&FLAGS[..], &["--load-model", "generation"]].concat(),
    );
    swap_under_load(
        server.http,
        "/v2/models/generation/infer",
        r#"{"inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","data":[0,0,0,0]}]}"#,
        100,
        |generation| {
            let cut = good.len() - usize::try_from(generation).expect("small");
            repository.replace("generation/1/model.onnx", &good[..cut]);
            let path = "/v2/repository/models/generation/load";
            let answer = server.call("POST", path, "");
            assert_eq!(answer.status, 400, "{}", answer.text());
        },
        |answer, _| assert_eq!(answer["outputs"][0]["data"][0].as_f64(), Some(1.0)),
    );
    server.stop();
}
