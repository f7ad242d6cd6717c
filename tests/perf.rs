//! `despina perf` drives the running server; what it counts is what the server counted.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;
#[path = "perf/sequences.rs"]
mod sequences;

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use common::{Repository, Server, identity_config, wait_until};
use sequences::Keeper;
use serde_json::Value;

const SHAPE: [&str; 4] = ["-m", "echo", "--shape", "INPUT0:16"];

/// Windows that are short, for tests are not about numbers that mean anything.
const SHORT: [&str; 6] = [
    "--measurement-interval",
    "200",
    "--warmup-interval",
    "20",
    "--max-trials",
    "4",
];

/// What a run printed, and its exit code.
fn perf(server: &Server, protocol: &str, flags: &[&str]) -> (Value, i32) {
    let address = match protocol {
        "http" => server.http,
        _ => server.grpc,
    };
    let (stdout, stderr, code) = command(&address.to_string(), protocol, flags);
    let report = serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("{flags:?}: {error}\n{stdout}\n{stderr}"));
    (report, code)
}

fn command(url: &str, protocol: &str, flags: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .args(["perf", "--json", "-u", url, "-i", protocol])
        .args(flags)
        .output()
        .expect("despina perf");
    (
        String::from_utf8(output.stdout).expect("UTF-8"),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code().expect("an exit code"),
    )
}

fn echo_server(flags: &[&str]) -> (Repository, Server) {
    let repository = Repository::empty();
    repository.add("echo", &identity_config("TYPE_FP32", 8, ""), &[1]);
    let server = Server::start_plain(repository.path(), flags);
    (repository, server)
}

fn number(value: &Value, path: &str) -> u64 {
    let found = value.pointer(path);
    let found = found.and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

/// Every level is whole: what was sent was answered, and the server counted the same.
fn agrees_with_the_server(report: &Value) {
    for level in report["levels"].as_array().expect("levels") {
        let done = number(level, "/totals/done");
        assert!(done > 0, "{level:#}");
        assert_eq!(done, number(level, "/totals/sent"), "{level:#}");
        assert_eq!(done, number(level, "/server/request_count"), "{level:#}");
        assert_eq!(number(level, "/totals/failed"), 0);
        assert!(number(level, "/totals/verified") > 0, "{level:#}");
        assert_eq!(number(level, "/totals/different"), 0, "{level:#}");
        let latency = |name: &str| level["latency"][name].as_f64().expect("a latency");
        // A machine that is very busy may have answered nothing in the windows that are measured.
        let answered = number(level, "/request_count") > 0;
        assert!(latency("p50") > 0.0 || !answered, "{level:#}");
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
        assert!(level["client_cpu_us"].as_f64().expect("its own time") > 0.0);
        let last = level["distribution"].as_array().and_then(|all| all.last());
        assert!(last.map_or(!answered, |point| point[1] == 1.0), "{level:#}");
    }
}

#[test]
fn counts_what_the_server_counts_over_each_protocol_in_both_loops() {
    let (_repository, server) = echo_server(&[]);
    let protocols: [(&str, &[&str]); 3] =
        [("http", &[]), ("grpc", &[]), ("grpc", &["--streaming"])];
    let loads: [&[&str]; 3] = [
        &["--concurrency-range", "1:33:32"],
        &[
            "--request-rate-range",
            "400",
            "--request-distribution",
            "poisson",
        ],
        &[
            "--concurrency-range",
            "5",
            "--request-count",
            "203",
            "-b",
            "3",
        ],
    ];
    for (protocol, streaming) in protocols {
        for load in loads {
            let flags = [&SHAPE[..], &SHORT, streaming, load].concat();
            let (report, code) = perf(&server, protocol, &flags);
            assert_eq!(code, 0, "{flags:?}: {report:#}");
            agrees_with_the_server(&report);
            let levels = report["levels"].as_array().expect("levels");
            if load.contains(&"203") {
                assert_eq!(number(&levels[0], "/request_count"), 203);
                assert_eq!(number(&levels[0], "/server/inference_count"), 3 * 203);
            }
            assert_eq!(levels.len(), 1 + usize::from(load.contains(&"1:33:32")));
        }
    }
}

#[test]
fn the_servers_processor_time_is_found_where_it_is_local() {
    let (_repository, server) = echo_server(&[]);
    // The kernel counts in hundredths of a second.
    let flags = [
        &SHAPE[..],
        &["--concurrency-range", "8", "--request-count", "1500"],
    ]
    .concat();
    let (report, _) = perf(&server, "http", &flags);
    let time = report["levels"][0]["server_cpu_us"].as_f64();
    assert!(time.expect("the server's time") > 0.0, "{report:#}");
}

#[test]
fn tensors_travel_in_shared_memory_and_in_json() {
    let (_repository, server) = echo_server(&["--allow-client-shm", "true"]);
    let ways: [(&str, &[&str]); 3] = [
        ("http", &["--shared-memory", "system"]),
        ("grpc", &["--shared-memory", "system"]),
        (
            "http",
            &[
                "--input-tensor-format",
                "json",
                "--output-tensor-format",
                "json",
            ],
        ),
    ];
    for (protocol, way) in ways {
        let flags = [
            &SHAPE[..],
            &["--request-count", "50", "--verify-every", "1"],
            way,
        ]
        .concat();
        let (report, code) = perf(&server, protocol, &flags);
        assert_eq!(code, 0, "{report:#}");
        agrees_with_the_server(&report);
        assert_eq!(number(&report["levels"][0], "/totals/verified"), 50);
    }
    let left = server.call("GET", "/v2/systemsharedmemory/status", "").body;
    assert_eq!(String::from_utf8_lossy(&left), "[]", "a region is left");
}

#[test]
fn models_are_asked_in_process_without_a_server() {
    let repository = Repository::empty();
    repository.add(
        "echo",
        &identity_config("TYPE_FP32", 8, "dynamic_batching { }"),
        &[1],
    );
    let path = repository.path().to_str().expect("UTF-8");
    let loads: [&[&str]; 2] = [
        &[
            "--request-count",
            "300",
            "--concurrency-range",
            "9",
            "--verify-every",
            "1",
        ],
        &["--request-rate-range", "500"],
    ];
    for load in loads {
        let flags = [&SHAPE[..], &SHORT, &["--model-repository", path], load].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_despina"))
            .args(["perf", "--json", "-i", "inprocess"])
            .args(flags)
            .output()
            .expect("despina perf");
        let report = serde_json::from_slice(&output.stdout).expect("JSON");
        agrees_with_the_server(&report);
    }
}

#[test]
fn several_models_are_asked_as_often_as_their_weights_say() {
    let repository = Repository::empty();
    for model in ["echo", "other"] {
        repository.add(model, &identity_config("TYPE_FP32", 8, ""), &[1]);
    }
    let server = Server::start_plain(repository.path(), &[]);
    let flags = [
        "-m",
        "echo=3",
        "-m",
        "other:1=1",
        "--shape",
        "INPUT0:4",
        "--request-count",
        "1000",
        "--concurrency-range",
        "8",
    ];
    let (report, _) = perf(&server, "grpc", &flags);
    agrees_with_the_server(&report);
    let models = report["levels"][0]["models"].as_array().expect("models");
    let counts: Vec<u64> = models
        .iter()
        .map(|model| number(model, "/request_count"))
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 1000);
    assert!((690..810).contains(&counts[0]), "{counts:?}");
}

#[test]
fn data_come_from_files_and_answers_are_held_against_them() {
    let (repository, server) = echo_server(&[]);
    let file = repository.path().join("data.json");
    let entry = |right: f32| {
        format!(
            r#"{{"data": [{{"INPUT0": {{"content": [1.5, 2], "shape": [2]}}}}],
                "validation_data": [{{"OUTPUT0": {{"content": [1.5, {right}], "shape": [2]}}}}]}}"#
        )
    };
    let path = file.to_str().expect("UTF-8");
    let flags = [
        "-m",
        "echo",
        "--request-count",
        "30",
        "--verify-every",
        "1",
        "--input-data",
        path,
    ];
    fs::write(&file, entry(2.0)).expect("data");
    assert_eq!(perf(&server, "http", &flags).1, 0);
    fs::write(&file, entry(3.0)).expect("data");
    let (_, stderr, code) = command(&server.http.to_string(), "http", &flags);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("is not what validation_data says"),
        "{stderr}"
    );
}

#[test]
fn a_decoupled_model_is_done_with_its_last_response() {
    let repository = Repository::empty();
    let config = "backend: \"repeat\"\nmax_batch_size: 0\nmodel_transaction_policy { decoupled: true }\n\
        input [ { name: \"IN\" data_type: TYPE_INT32 dims: [ -1 ] }, \
                { name: \"DELAY\" data_type: TYPE_UINT32 dims: [ -1 ] }, \
                { name: \"WAIT\" data_type: TYPE_UINT32 dims: [ 1 ] } ]\n\
        output [ { name: \"OUT\" data_type: TYPE_INT32 dims: [ 1 ] }, \
                 { name: \"IDX\" data_type: TYPE_UINT32 dims: [ 1 ] } ]\n\
        instance_group { kind: KIND_CPU count: 1 }\n";
    repository.add("repeat", config, &[1]);
    let server = Server::start_plain(repository.path(), &[]);
    let flags = [
        "-m",
        "repeat",
        "--streaming",
        "--shape",
        "IN:5",
        "--shape",
        "DELAY:5",
        "--input-data",
        "zero",
        "--request-count",
        "20",
        "--concurrency-range",
        "3",
    ];
    let (report, code) = perf(&server, "grpc", &flags);
    assert_eq!(code, 0, "{report:#}");
    agrees_with_the_server(&report);
    let (_, stderr, _) = command(&server.grpc.to_string(), "grpc", &["-m", "repeat"]);
    assert!(stderr.contains("--streaming"), "{stderr}");
}

#[test]
fn a_search_finds_the_highest_rate_within_its_bounds() {
    let (_repository, server) = echo_server(&[]);
    let flags = [
        &SHAPE[..],
        &SHORT,
        &["--slo-ms", "60000", "--request-rate-range", "50:120"],
    ]
    .concat();
    let (report, _) = perf(&server, "http", &flags);
    // Everything is answered within a minute: the upper bound is the answer.
    assert_eq!(report["slo"]["request_rate"], 120.0, "{:#}", report["slo"]);
    agrees_with_the_server(&report);
}

#[test]
fn a_trace_is_replayed_and_reports_are_written() {
    let (repository, server) = echo_server(&[]);
    let trace = repository.path().join("trace");
    let csv = repository.path().join("out.csv");
    fs::write(&trace, "500\n1500\n").expect("trace");
    let flags = [
        &SHAPE[..],
        &[
            "--request-count",
            "40",
            "--request-intervals",
            trace.to_str().expect("UTF-8"),
        ],
        &["-f", csv.to_str().expect("UTF-8")],
    ]
    .concat();
    let (report, _) = perf(&server, "grpc", &flags);
    agrees_with_the_server(&report);
    assert_eq!(report["levels"][0]["load"]["value"], 1000.0);
    let lines = fs::read_to_string(csv).expect("a report");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("Mean Request Rate,Inferences/Second,"),
        "{lines:?}"
    );
    assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
}

#[test]
fn failures_are_counted_with_their_reasons() {
    let explicit = ["--model-control-mode", "explicit", "--load-model", "echo"];
    let (_repository, server) = echo_server(&explicit);
    // The server forgets the model halfway.
    let http = server.http;
    let flags = [
        &SHAPE[..],
        &["--request-rate-range", "100", "--request-count", "100"],
    ]
    .concat();
    let unload = thread::spawn(move || {
        common::wait_until("requests come", || {
            let answer = common::call(http, "GET", "/v2/models/echo/stats", "");
            answer.is_ok_and(|answer| {
                let stats: Value = serde_json::from_slice(&answer.body).expect("JSON");
                stats["model_stats"][0]["inference_count"].as_u64() > Some(0)
            })
        });
        common::call(http, "POST", "/v2/repository/models/echo/unload", "")
    });
    let (report, code) = perf(&server, "grpc", &flags);
    unload.join().expect("a thread").expect("an answer");
    let level = &report["levels"][0];
    assert_eq!(code, 1, "{level:#}");
    let (done, failed) = (
        number(level, "/totals/done"),
        number(level, "/totals/failed"),
    );
    assert_eq!(done + failed, 100);
    let failures = level["totals"]["failures"].as_object().expect("reasons");
    assert!(
        failures.keys().any(|reason| reason.contains("echo")),
        "{failures:?}"
    );
}

/// The names of what this run has in shared memory.
fn shared_by(process: u32) -> Vec<String> {
    let prefix = format!("despina_perf_{process}_");
    let files = fs::read_dir("/dev/shm").expect("shared memory").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

#[test]
fn a_run_that_is_interrupted_reports_and_leaves_nothing_behind() {
    let (_repository, server) = echo_server(&["--allow-client-shm", "true"]);
    for (signal, protocol) in [("-INT", "http"), ("-TERM", "grpc")] {
        let address = match protocol {
            "http" => server.http,
            _ => server.grpc,
        };
        let child = Command::new(env!("CARGO_BIN_EXE_despina"))
            .args(["perf", "--json", "-u", &address.to_string(), "-i", protocol])
            .args(SHAPE)
            .args(["--shared-memory", "system", "--concurrency-range", "2:9"])
            // Without the signal it would take a day.
            .args([
                "--measurement-interval",
                "8640000",
                "--warmup-interval",
                "0",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("despina perf");
        let answered = || {
            let stats = server.call("GET", "/v2/models/echo/stats", "");
            let stats: Value = serde_json::from_slice(&stats.body).expect("JSON");
            stats["model_stats"][0]["inference_count"].as_u64()
        };
        let before = answered();
        wait_until("the load", || answered() > before.map(|count| count + 100));
        assert_eq!(shared_by(child.id()).len(), 2);
        let id = child.id();
        let sent = Command::new("kill")
            .args([signal, &id.to_string()])
            .status();
        assert!(sent.expect("kill").success());
        let output = child.wait_with_output().expect("its end");
        assert_eq!(output.status.code(), Some(130), "{signal}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["is_interrupted"], true);
        assert_eq!(report["levels"].as_array().map(Vec::len), Some(1));
        assert!(number(&report, "/levels/0/request_count") > 0);
        assert_eq!(number(&report, "/levels/0/totals/failed"), 0);
        assert_eq!(shared_by(id), Vec::<String>::new());
    }
    let regions = server.call("GET", "/v2/systemsharedmemory/status", "");
    assert_eq!(String::from_utf8_lossy(&regions.body), "[]");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let (_repository, server) = echo_server(&[]);
    let http = server.http.to_string();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = free.local_addr().expect("an address").to_string();
    drop(free);
    let encrypted = format!("https://{http}");
    let cases: [(&str, &str, &[&str], &str); 8] = [
        (&http, "http", &["-m", "nothing"], "nothing"),
        (&http, "http", &["-m", "echo"], "--shape INPUT0:d,d"),
        (&nobody, "grpc", &["-m", "echo"], "no server at"),
        (&http, "http", &["-m", "echo", "--streaming"], "-i grpc"),
        (
            &encrypted,
            "http",
            &["-m", "echo", "--ssl-https-verify-peer", "0"],
            "no encrypted connection",
        ),
        (
            &http,
            "http",
            &["-m", "echo", "--ssl-https-verify-host", "0"],
            "have no effect without -u https://",
        ),
        (
            &http,
            "http",
            &["-m", "echo", "--ssl-grpc-use-ssl"],
            "add -i grpc",
        ),
        (
            &http,
            "http",
            &["-m", "echo", "--concurrency-range", "1:0"],
            "--latency-threshold",
        ),
    ];
    for (url, protocol, flags, due) in cases {
        let flags = [flags, &SHAPE[2..]].concat();
        let flags = if due.starts_with("--shape") {
            &flags[..2]
        } else {
            &flags[..]
        };
        let (_, stderr, code) = command(url, protocol, flags);
        assert_eq!(code, 1, "{flags:?}");
        assert!(stderr.contains(due), "{flags:?}: {stderr}");
    }
}

#[test]
fn a_sample_model_is_measured_with_random_images() {
    let repository = Repository::empty();
    repository.add_sample("digits");
    let server = Server::start(repository.path(), &[]);
    let flags = [
        "-m",
        "digits",
        "-b",
        "4",
        "--request-count",
        "100",
        "--concurrency-range",
        "4",
    ];
    let (report, code) = perf(&server, "http", &flags);
    assert_eq!(code, 0, "{report:#}");
    let level = &report["levels"][0];
    assert_eq!(number(level, "/totals/done"), 100);
    assert_eq!(number(level, "/server/inference_count"), 400);
    assert!(level["server"]["compute_infer_us"].as_f64() > Some(0.0));
}

#[test]
fn sequences_begin_and_end_and_have_one_request_under_way_each() {
    let keeper = Keeper::start();
    let flags = [
        "-m",
        "keeper",
        "--verify-every",
        "0",
        "--request-count",
        "120",
    ];
    let sequences = ["--sequence-length", "5", "--sequence-id-range", "10:14"];
    let loads: [&[&str]; 2] = [
        &["--concurrency-range", "3"],
        &["--request-rate-range", "2000", "--num-of-sequences", "3"],
    ];
    for load in loads {
        let flags = [&flags[..], &sequences, load].concat();
        let (stdout, stderr, code) = command(&keeper.address, "http", &flags);
        assert_eq!(code, 0, "{stdout}\n{stderr}");
        let report: Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!(number(&report, "/levels/0/totals/sent"), 120);
        assert_eq!(number(&report, "/levels/0/request_count"), 120);
        let seen = keeper.take();
        assert_eq!(seen.faults, Vec::<String>::new());
        assert_eq!(seen.under_way, 0, "a sequence was not ended");
        // 120 requests in sequences of 4 to 6, and what ended those that were open.
        assert!((20..=33).contains(&seen.lengths.len()), "{seen:?}");
        assert!(
            seen.lengths.iter().all(|length| (1..=7).contains(length)),
            "{seen:?}"
        );
        assert!(
            (120..=123).contains(&seen.lengths.iter().sum::<usize>()),
            "{seen:?}"
        );
    }
    let flags = [&flags[..], &["--concurrency-range", "9"], &sequences].concat();
    let (_, stderr, code) = command(&keeper.address, "http", &flags);
    assert_eq!(code, 1);
    assert!(stderr.contains("has 4 numbers"), "{stderr}");
    let (_repository, server) = echo_server(&[]);
    let flags = [&SHAPE[..], &["--sequence-length", "5"]].concat();
    let (_, stderr, code) = command(&server.http.to_string(), "http", &flags);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("none of the models has sequence_batching"),
        "{stderr}"
    );
}
