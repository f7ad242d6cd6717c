//! What these tests share: a folder with the pretend driver and TensorRT, plans, and a server that finds
//! them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use fake_cuda::counters::{self, Counter};
use serde_json::Value;

use crate::common::{Connection, Repository, Server};

/// In batches of up to 8, a copy; the engine's weights and its contexts' memory are easy to tell apart.
pub const ECHO: &str = "input IN INT32 -1x4
    output OUT INT32 -1x4
    profile IN=1x4/4x4/8x4
    weights 1048576
    workspace 8192
    run copy OUT IN";

/// On the first GPU only.
pub const ON_ONE: &str = "instance_group { kind: KIND_GPU gpus: [ 0 ] }";

/// A repository, and a place in which a server finds GPUs and TensorRT.
pub struct Rig {
    pub models: Repository,
    folder: tempfile::TempDir,
}

impl Rig {
    /// `None` where there is no pretend TensorRT.
    pub fn new() -> Option<Self> {
        fake_tensorrt::library_or_skip()?;
        let rig = Self::without_tensorrt();
        fake_tensorrt::install(rig.folder.path()).unwrap();
        Some(rig)
    }

    pub fn without_tensorrt() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fake_cuda::install(folder.path()).unwrap();
        let models = Repository::empty();
        Self { models, folder }
    }

    /// Adds version 1 of a model with that plan.
    pub fn add(&self, model: &str, plan: &[u8], config: &str) {
        self.models.add(model, config, &[1]);
        fs::write(self.models.path().join(model).join("1/model.plan"), plan).unwrap();
    }

    pub fn start(&self, flags: &[&str]) -> Server {
        self.start_in(flags, &[])
    }

    /// The same with more environment variables.
    pub fn start_in(&self, flags: &[&str], more: &[(&str, &str)]) -> Server {
        let config = self.folder.path().join("server.yaml");
        fs::write(&config, "gpu:\n  pinned_memory_pool_byte_size: 1048576\n").unwrap();
        let (config, folder) = (
            config.to_str().unwrap(),
            self.folder.path().to_str().unwrap(),
        );
        let flags = [&["--config", config, "--strict-readiness=false"], flags].concat();
        let counters = self.folder.path().join("counters");
        let environment = [
            ("LD_LIBRARY_PATH", folder),
            ("FAKE_CUDA_COUNTERS", counters.to_str().unwrap()),
            ("FAKE_CUDA_DEVICES", "2"),
            ("FAKE_CUDA_MEMORY_MB", "64"),
        ];
        Server::start_in(self.models.path(), &flags, &[&environment, more].concat())
    }

    /// Runs `despina engine build` where the server would run.
    pub fn build(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_despina"))
            .args(["engine", "build"])
            .args(arguments)
            .env("LD_LIBRARY_PATH", self.folder.path())
            .env("FAKE_CUDA_MEMORY_MB", "64")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// A place for files of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn count(&self, device: usize, counter: Counter) -> u64 {
        counters::read(&self.folder.path().join("counters"), device, counter).unwrap()
    }

    /// Nothing of a device's memory is held any more.
    pub fn assert_nothing_is_left(&self) {
        for device in 0..2 {
            for counter in [
                Counter::Contexts,
                Counter::Streams,
                Counter::UsedBytes,
                Counter::Graphs,
            ] {
                assert_eq!(
                    self.count(device, counter),
                    0,
                    "{counter:?} of device {device}"
                );
            }
        }
    }
}

/// Why the model is not ready.
pub fn reason(server: &Server, model: &str) -> String {
    let index = server.call("POST", "/v2/repository/index", "").json();
    let entries = index.as_array().expect("index");
    let entry = entries
        .iter()
        .find(|entry| entry["name"] == model)
        .expect("the model");
    assert_eq!(entry["state"], "UNAVAILABLE", "{entry}");
    entry["reason"].as_str().unwrap_or_default().to_owned()
}

pub fn config(server: &Server, model: &str) -> Value {
    server
        .call("GET", &format!("/v2/models/{model}/config"), "")
        .json()
}

/// Sends one input of that shape, and says what came: status and body.
pub fn infer(connection: &mut Connection, model: &str, input: &Value) -> (u16, Value) {
    infer_all(connection, model, std::slice::from_ref(input))
}

/// The same with several inputs.
pub fn infer_all(connection: &mut Connection, model: &str, inputs: &[Value]) -> (u16, Value) {
    let body = serde_json::json!({ "inputs": inputs });
    let path = format!("/v2/models/{model}/infer");
    let answer = connection
        .post(&path, &body.to_string())
        .expect("an answer");
    (answer.status, answer.json())
}

/// `rows` of four numbers, all of them `number`.
pub fn rows(rows: usize, number: i32) -> Value {
    let data = vec![number; rows * 4];
    serde_json::json!({ "name": "IN", "datatype": "INT32", "shape": [rows, 4], "data": data })
}
