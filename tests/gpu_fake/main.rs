//! The real server on eight pretend GPUs: placement, batches through pinned and device memory, devices
//! that have no memory left or die, and nothing left in the end. It says nothing about a real GPU.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod graphs;
mod images;
mod losses;
mod memory;
mod shared_memory;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Connection, Server, call};
use fake_cuda::counters::{self, Counter};

/// A folder with the pretend driver, and the file in which it counts.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fake_cuda::install(folder.path()).unwrap();
        Self { folder }
    }

    fn counters(&self) -> PathBuf {
        self.folder.path().join("counters")
    }

    /// A file that is not there yet.
    fn trigger(&self) -> PathBuf {
        self.folder.path().join("die")
    }

    fn count(&self, device: usize, counter: Counter) -> u64 {
        counters::read(&self.counters(), device, counter).unwrap()
    }

    /// What is held of both devices that a test uses.
    fn held(&self) -> Vec<u64> {
        let counters = [
            Counter::Contexts,
            Counter::Streams,
            Counter::Graphs,
            Counter::Modules,
            Counter::UsedBytes,
            Counter::PinnedBytes,
        ];
        let of = |device: usize| counters.map(|counter| self.count(device, counter));
        [of(0), of(1)].concat()
    }

    fn start(&self, models: &Path, flags: &[&str], settings: &[(&str, &str)]) -> Server {
        let config = self.folder.path().join("server.yaml");
        fs::write(&config, "gpu:\n  pinned_memory_pool_byte_size: 1048576\n").unwrap();
        let config = config.to_str().unwrap().to_owned();
        let flags: Vec<_> = ["--config", &config]
            .into_iter()
            .chain(flags.iter().copied())
            .collect();
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let counters = self.counters().to_str().unwrap().to_owned();
        let own = [
            ("LD_LIBRARY_PATH", &*folder),
            ("FAKE_CUDA_COUNTERS", &*counters),
        ];
        Server::start_in(models, &flags, &[&own, settings].concat())
    }
}

/// `IN` is copied to `OUT`, in batches of up to 8, by instances of that group.
fn echo(name: &str, group: &str, extra: &str) -> String {
    format!(
        "name: '{name}' backend: 'identity' max_batch_size: 8 dynamic_batching {{}}
         input {{ name: 'IN' data_type: TYPE_INT32 dims: 4 }}
         output {{ name: 'OUT' data_type: TYPE_INT32 dims: 4 }}
         instance_group [ {group} ] {extra}"
    )
}

fn body(numbers: [i32; 4]) -> String {
    format!(r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[1,4],"data":{numbers:?}}}]}}"#)
}

/// Asks for four numbers and says what came: the status, and the numbers if it is 200.
fn ask(connection: &mut Connection, model: &str, numbers: [i32; 4]) -> (u16, String) {
    let path = format!("/v2/models/{model}/infer");
    let answer = connection.post(&path, &body(numbers)).expect("an answer");
    if answer.status == 200 {
        assert_eq!(
            answer.json()["outputs"][0]["data"],
            serde_json::json!(numbers)
        );
    }
    (answer.status, answer.text())
}

fn metric(server: &Server, name: &str, device: usize) -> Option<String> {
    let page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
    let series = format!("{name}{{gpu_uuid=\"GPU-46414b45-4355-4441-0000-00000000000{device}\"}} ");
    page.lines()
        .find_map(|line| line.strip_prefix(&series))
        .map(str::to_owned)
}
