//! Models that hold ONNX and ask for TensorRT: ONNX Runtime serves them while another process builds the engine,
//! which then takes over, or does not, and why. On a pretend TensorRT and pretend GPUs, with the real ONNX Runtime.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    common::{Connection, Server, fixtures, python, wait_until},
    rig::{Rig, config, infer},
};

/// Batches of up to 8 rows of four numbers.
const CONFIG: &str = "backend: 'tensorrt' max_batch_size: 8
    input { name: 'INPUT0' data_type: TYPE_INT32 dims: [ 4 ] }
    output { name: 'OUTPUT0' data_type: TYPE_INT32 dims: [ 4 ] }
    instance_group { kind: KIND_GPU gpus: [ 0 ] }";

/// A server that builds engines, what it builds from, and what it has built.
struct Factory {
    rig: Rig,
}

impl Factory {
    fn new(config: &str) -> Option<Self> {
        let factory = Self { rig: Rig::new()? };
        factory.add("m", config);
        Some(factory)
    }

    fn add(&self, model: &str, config: &str) {
        self.rig.models.add(model, config, &[1]);
        let onnx = fixtures().join("onnx_int32/1/model.onnx");
        let file = self.rig.models.path().join(model).join("1/model.onnx");
        fs::copy(onnx, file).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.rig.folder().join(name)
    }

    fn start(&self, flags: &[&str], environment: &[(&str, &str)]) -> Server {
        let (cache, log) = (self.path("engines"), self.path("builds"));
        let library = python().onnxruntime;
        let flags = [&["--engine-cache", cache.to_str().unwrap()], flags].concat();
        let ours = [
            ("ORT_DYLIB_PATH", library.to_str().unwrap()),
            ("FAKE_TENSORRT_BUILD_LOG", log.to_str().unwrap()),
        ];
        self.rig.start_in(&flags, &[&ours, environment].concat())
    }

    /// How often `what` was written by a builder: `began` or `built`.
    fn count(&self, what: &str) -> usize {
        let log = fs::read_to_string(self.path("builds")).unwrap_or_default();
        log.lines().filter(|line| *line == what).count()
    }

    /// The plans in the cache.
    fn plans(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("engines")).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "plan"))
            .collect()
    }
}

/// What serves the model.
fn platform(server: &Server) -> String {
    config(server, "m")["platform"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What the index says of the model: state and reason.
fn index(server: &Server) -> (String, String) {
    let index = server.call("POST", "/v2/repository/index", "").json();
    let rows = index.as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "m").unwrap();
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

fn input(number: i32) -> Value {
    json!({ "name": "INPUT0", "datatype": "INT32", "shape": [2, 4], "data": vec![number; 8] })
}

/// Asks once; whether the answer is what was sent.
fn is_answered(connection: &mut Connection, number: i32) -> bool {
    let (status, answer) = infer(connection, "m", &input(number));
    status == 200 && answer["outputs"][0]["data"] == json!(vec![number; 8])
}

fn assert_answered(server: &Server) {
    let mut connection = Connection::open(server.http).unwrap();
    assert!(is_answered(&mut connection, 7));
}

fn wait_for_engine(server: &Server) {
    wait_until("the engine", || platform(server) == "tensorrt_plan");
}

#[test]
fn onnx_runtime_serves_until_the_engine_does_and_no_request_is_lost() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let gate = factory.path("gate");
    let server = factory.start(&[], &[("FAKE_TENSORRT_BUILD_GATE", gate.to_str().unwrap())]);
    assert_eq!(platform(&server), "onnxruntime_onnx");
    let row = (
        "READY".to_owned(),
        "served by onnxruntime: an engine is being built".to_owned(),
    );
    assert_eq!(index(&server), row);
    let is_over = AtomicBool::new(false);
    let asked: i32 = thread::scope(|scope| {
        let ask = || {
            let mut connection = Connection::open(server.http).unwrap();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                count += 1;
                assert!(is_answered(&mut connection, count), "request {count}");
            }
            count
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        wait_until("the build", || factory.count("began") == 1);
        fs::write(&gate, "").unwrap();
        wait_for_engine(&server);
        assert_answered(&server);
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert!(asked >= 4, "{asked}");
    assert_eq!(index(&server), ("READY".to_owned(), String::new()));
    assert_eq!(config(&server, "m")["backend"], "tensorrt");
    server.stop();
    factory.rig.assert_nothing_is_left();

    // The engine is there, and the next server takes it at once.
    let server = factory.start(&[], &[]);
    assert_eq!(platform(&server), "tensorrt_plan");
    assert_answered(&server);
    server.stop();
    assert_eq!((factory.count("built"), factory.plans().len()), (1, 1));
    factory.rig.assert_nothing_is_left();
}

#[test]
fn what_an_engine_is_made_of_decides_whether_it_is_built_again() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let build = |config: &str| {
        factory.add("m", config);
        let server = factory.start(&[], &[]);
        wait_for_engine(&server);
        server.stop();
        factory.count("built")
    };
    assert_eq!(build(CONFIG), 1);
    let other = |from: &str, to: &str| {
        assert!(CONFIG.contains(from));
        CONFIG.replace(from, to)
    };
    // Nothing that the engine is made of.
    assert_eq!(build(&other("gpus: [ 0 ]", "gpus: [ 0 ] count: 2")), 1);
    assert_eq!(build(&other("max_batch_size: 8", "max_batch_size: 4")), 2);
    assert_eq!(build(CONFIG), 2);
}

#[test]
fn a_broken_entry_of_the_cache_is_built_again() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let server = factory.start(&[], &[]);
    wait_for_engine(&server);
    server.stop();
    let plan = factory.plans().pop().unwrap();
    let mut bytes = fs::read(&plan).unwrap();
    bytes[40] ^= 1;
    fs::write(&plan, bytes).unwrap();
    let server = factory.start(&[], &[]);
    wait_for_engine(&server);
    assert_answered(&server);
    let log = server.log();
    assert!(log.contains("an engine in the cache is not used"), "{log}");
    server.stop();
    assert_eq!(factory.count("built"), 2);
}

#[test]
fn an_engine_that_answers_otherwise_is_never_used() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let wrong = [("FAKE_TENSORRT_BUILD", "wrong")];
    let server = factory.start(&[], &wrong);
    let is_refused = || {
        index(&server)
            .1
            .contains("is not accurate: output 'OUTPUT0' differs")
    };
    wait_until("the comparison", is_refused);
    assert_eq!(platform(&server), "onnxruntime_onnx");
    assert_answered(&server);
    server.stop();
    // It is not built again, nor compared: that is known.
    let server = factory.start(&[], &wrong);
    assert!(
        index(&server).1.contains("is not accurate"),
        "{:?}",
        index(&server)
    );
    assert_answered(&server);
    server.stop();
    assert_eq!(factory.count("built"), 1);
    // Who wants it all the same says so.
    let parameter = "parameters { key: 'engine_tolerance' value { string_value: 'none' } }";
    factory.add("m", &format!("{CONFIG} {parameter}"));
    let server = factory.start(&[], &wrong);
    assert_eq!(platform(&server), "tensorrt_plan");
    server.stop();
    assert_eq!(factory.count("built"), 1);
}

#[test]
fn if_no_engine_is_built_onnx_runtime_serves_on() {
    let shapes = CONFIG.replace("dims: [ 4 ]", "dims: [ -1 ]");
    let fp16 = "parameters { key: 'engine_precision' value { string_value: 'fp16' } }";
    let (fp16, none) = (format!("{CONFIG} {fp16}"), ("FAKE_TENSORRT_BUILD", ""));
    let anywhere = CONFIG.replace("instance_group { kind: KIND_GPU gpus: [ 0 ] }", "");
    let table = [
        (
            CONFIG,
            ("FAKE_TENSORRT_BUILD", "fails"),
            "Could not find any implementation",
        ),
        (
            CONFIG,
            ("FAKE_TENSORRT_BUILD", "crashes"),
            "ended without a word (signal: 6",
        ),
        (&shapes, none, "say them with parameter 'engine_shapes'"),
        (&fp16, none, "precision fp16 needs TensorRT 10"),
        (
            &anywhere,
            ("FAKE_CUDA_DEVICES", "0"),
            "the tensorrt backend runs on GPUs only",
        ),
    ];
    for (config, environment, part) in table {
        let Some(factory) = Factory::new(config) else {
            return;
        };
        let server = factory.start(&[], &[environment]);
        wait_until(part, || index(&server).1.contains(part));
        let (state, reason) = index(&server);
        assert_eq!(state, "READY");
        assert!(reason.starts_with("served by onnxruntime: "), "{reason}");
        assert_answered(&server);
        server.stop();
        assert_eq!(factory.count("built"), 0, "{part}");
    }
}

#[test]
fn an_unload_and_a_stop_end_a_build() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let gate = factory.path("never");
    let environment = [("FAKE_TENSORRT_BUILD_GATE", gate.to_str().unwrap())];
    let server = factory.start(&["--model-control-mode", "explicit"], &environment);
    let control = |act: &str| {
        let answer = server.call("POST", &format!("/v2/repository/models/m/{act}"), "{}");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    control("load");
    wait_until("the build", || factory.count("began") == 1);
    control("unload");
    wait_until("the unload", || index(&server).1 == "unloaded");
    // One at a time is built on a GPU: that this one begins shows that the other has ended.
    control("load");
    wait_until("the next build", || factory.count("began") == 2);
    // Ends in time, though the build would not.
    server.stop();
    assert_eq!((factory.count("built"), factory.plans().len()), (0, 0));
}

#[test]
fn shapes_that_vary_and_random_samples_come_from_parameters() {
    let parameters = "parameters { key: 'engine_shapes' value { string_value: 'INPUT0=1/4/8' } }
        parameters { key: 'engine_batch_buckets' value { string_value: '1' } }";
    let config = format!(
        "{} {parameters}",
        CONFIG.replace("dims: [ 4 ]", "dims: [ -1 ]")
    );
    let Some(factory) = Factory::new(&config) else {
        return;
    };
    let server = factory.start(&[], &[]);
    wait_for_engine(&server);
    assert_answered(&server);
    let plan = fs::read(factory.plans().pop().unwrap()).unwrap();
    let plan = String::from_utf8_lossy(&plan).into_owned();
    for profile in ["profile INPUT0=1x1/1x4/1x8", "profile INPUT0=1x1/8x4/8x8"] {
        assert!(plan.contains(profile), "{plan}");
    }
    server.stop();
}

#[test]
fn a_plan_beside_the_model_is_what_is_served() {
    let Some(factory) = Factory::new(CONFIG) else {
        return;
    };
    let plan = "input INPUT0 INT32 -1x4\noutput OUTPUT0 INT32 -1x4\nprofile INPUT0=1x4/4x4/8x4\nrun copy OUTPUT0 INPUT0";
    let file = factory.rig.models.path().join("m/1/model.plan");
    fs::write(file, fake_tensorrt::plan(plan)).unwrap();
    let server = factory.start(&[], &[]);
    assert_eq!(platform(&server), "tensorrt_plan");
    assert_answered(&server);
    server.stop();
    assert_eq!(factory.count("began"), 0);
}
