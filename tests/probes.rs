//! Probes of an orchestrator, asked of the running server.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{Repository, Server, call, identity_config, python, wait_until};
use despina::proto::health::{HealthCheckRequest, health_client::HealthClient};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

const PROBES: [&str; 5] = [
    "/livez",
    "/startupz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
];

/// What a gigabyte may take to load, on a machine that is busy otherwise.
const LOADING: Duration = Duration::from_secs(180);
/// What an orchestrator waits at most.
const BOUND: Duration = Duration::from_millis(50);

fn parameter(key: &str, value: &str) -> String {
    format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}")
}

/// Whoever asks a server's probes, over HTTP and over gRPC.
struct Prober<'a> {
    server: &'a Server,
    runtime: Runtime,
    health: HealthClient<Channel>,
}

impl<'a> Prober<'a> {
    fn new(server: &'a Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("address");
        let channel = runtime.block_on(endpoint.connect()).expect("connect");
        Self {
            server,
            runtime,
            health: HealthClient::new(channel),
        }
    }

    /// How long each probe took to answer.
    fn round(&mut self) -> Vec<Duration> {
        let mut times = Vec::new();
        for probe in PROBES {
            let begin = Instant::now();
            self.server.call("GET", probe, "");
            times.push(begin.elapsed());
        }
        let begin = Instant::now();
        let asked = self.health.check(HealthCheckRequest::default());
        self.runtime.block_on(asked).expect("an answer");
        times.push(begin.elapsed());
        times
    }
}

/// Fails unless each probe answered in time in most of these rounds: a machine that is busy with
/// other things may delay some.
fn assert_in_time(rounds: &[Vec<Duration>]) {
    for (index, probe) in PROBES.iter().chain(&["grpc.health.v1"]).enumerate() {
        let mut times: Vec<_> = rounds.iter().map(|round| round[index]).collect();
        times.sort();
        assert!(times[times.len() / 2] < BOUND, "{probe}: {times:?}");
    }
}

/// Clients that keep every instance of `busy` occupied.
fn keep_busy(server: &Server) {
    let address = server.http;
    let input = r#"{"inputs":[{"name":"INPUT0","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    for _ in 0..16 {
        thread::spawn(
            move || {
                while call(address, "POST", "/v2/models/busy/infer", input).is_ok() {}
            },
        );
    }
}

fn add_busy(repository: &Repository) {
    let busy = identity_config("TYPE_FP32", 0, &parameter("execute_delay_ms", "400"));
    repository.add("busy", &busy, &[1]);
}

#[test]
fn probes_answer_while_a_model_loads_and_every_instance_is_busy() {
    let repository = Repository::empty();
    add_busy(&repository);
    let late = identity_config("TYPE_FP32", 0, &parameter("creation_delay_sec", "60"));
    repository.add("late", &late, &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "busy"];
    let server = Server::start_plain(repository.path(), &flags);
    let address = server.http;
    assert_eq!(server.call("GET", "/readyz", "").status, 200);

    thread::spawn(move || call(address, "POST", "/v2/repository/models/late/load", "{}"));
    keep_busy(&server);
    wait_until("the model is being loaded", || {
        server.call("GET", "/readyz", "").status == 503
    });

    let mut prober = Prober::new(&server);
    let rounds: Vec<_> = (0..21).map(|_| prober.round()).collect();
    assert_in_time(&rounds);
    let ready = server.call("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reason"], "not every model is ready");
    assert_eq!(ready.json()["models"][0]["name"], "late");
    assert_eq!(ready.json()["models"][0]["state"], "LOADING");
    assert_eq!(server.call("GET", "/livez", "").status, 200);
    assert_eq!(server.call("GET", "/startupz", "").status, 200);
}

/// Writes a model of one product with a matrix of 1 GiB, which is a file of zeros that takes no room.
const LARGE_MODEL: &str = r#"
import sys, pathlib, onnx
from onnx import helper, TensorProto
folder, side = pathlib.Path(sys.argv[1]), 16384
weights = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[side, side])
weights.data_location = TensorProto.EXTERNAL
for key, value in (("location", "weights"), ("offset", "0"), ("length", str(side * side * 4))):
    weights.external_data.add(key=key, value=value)
with open(folder / "weights", "wb") as file:
    file.truncate(side * side * 4)
rows = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, side])
node = helper.make_node("MatMul", ["X", "W"], ["Y"])
graph = helper.make_graph([node], "large", [rows("X")], [rows("Y")], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
(folder / "model.onnx").write_bytes(model.SerializeToString())
"#;

#[test]
#[ignore = "takes 3 GB of memory"]
fn probes_answer_while_a_model_of_a_gigabyte_loads() {
    let repository = Repository::empty();
    add_busy(&repository);
    let version = repository.path().join("large/1");
    fs::create_dir_all(&version).expect("a version folder");
    let made = Command::new(python().interpreter)
        .args(["-c", LARGE_MODEL])
        .arg(&version)
        .status();
    assert!(made.expect("Python").success());
    let flags = ["--model-control-mode", "explicit", "--load-model", "busy"];
    let server = Server::start(repository.path(), &flags);
    keep_busy(&server);
    let mut prober = Prober::new(&server);
    let address = server.http;
    thread::spawn(move || call(address, "POST", "/v2/repository/models/large/load", "{}"));
    let begin = Instant::now();
    let mut rounds = Vec::new();
    while server.call("GET", "/v2/models/large/ready", "").status != 200 {
        rounds.push(prober.round());
        assert!(begin.elapsed() < LOADING, "the model is not ready yet");
    }
    assert!(rounds.len() > 3, "{} rounds while it loaded", rounds.len());
    assert_in_time(&rounds);
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
