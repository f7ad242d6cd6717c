//! The real server on eight pretend GPUs: placement, batches through pinned and device memory, devices
//! that have no memory left or die, and nothing left in the end. It says nothing about a real GPU.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{Connection, Repository, Server, call, wait_until};
use despina::device::cuda::{Context, DeviceMemory, probe};
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

#[test]
fn batches_go_through_every_device_that_is_used_and_through_no_other() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "all",
        &echo(
            "all",
            "{ kind: KIND_GPU count: 2 gpus: [ 0, 1, 2, 3, 4, 5, 6 ] }",
            "",
        ),
        &[1],
    );
    let server = fake.start(models.path(), &[], &[]);
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..8 {
            let (http, sent) = (server.http, &sent);
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0..200 {
                    let numbers = [client, number, -number, i32::MAX - number];
                    assert_eq!(ask(&mut connection, "all", numbers).0, 200);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sent.into_inner(), 1600);
    let uploaded: u64 = (0..7)
        .map(|device| fake.count(device, Counter::UploadedBytes))
        .sum();
    let downloaded: u64 = (0..7)
        .map(|device| fake.count(device, Counter::DownloadedBytes))
        .sum();
    assert_eq!((uploaded, downloaded), (1600 * 16, 1600 * 16));
    for device in 0..8 {
        let used = u64::from(device < 7);
        assert_eq!(
            fake.count(device, Counter::Contexts),
            used,
            "device {device}"
        );
        assert_eq!(fake.count(device, Counter::Streams), used * 2 * 3);
        assert_eq!(fake.count(device, Counter::PageableCopies), 0);
    }
    assert_eq!(metric(&server, "despina_gpu_lost", 0).as_deref(), Some("0"));
    assert_eq!(metric(&server, "despina_gpu_lost", 7), None);
    assert_eq!(
        metric(&server, "despina_pinned_pool_used_bytes", 0).as_deref(),
        Some("0")
    );
    server.stop();
    for device in 0..8 {
        for counter in [
            Counter::Contexts,
            Counter::Streams,
            Counter::Events,
            Counter::UsedBytes,
            Counter::PinnedBytes,
        ] {
            assert_eq!(
                fake.count(device, counter),
                0,
                "{counter:?} of device {device}"
            );
        }
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_and_leaves_nothing() {
    let fake = Fake::new();
    let models = Repository::empty();
    let large =
        echo("large", "{ kind: KIND_GPU gpus: [ 0 ] }", "").replace("dims: 4", "dims: 1000000");
    models.add("large", &large, &[1]);
    models.add(
        "small",
        &echo("small", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    let flags = ["--model-control-mode", "explicit", "--load-model", "small"];
    let server = fake.start(models.path(), &flags, &[("FAKE_CUDA_MEMORY_MB", "64")]);
    let before = fake.count(0, Counter::UsedBytes);
    let answer = server.call("POST", "/v2/repository/models/large/load", "{}");
    assert_ne!(answer.status, 200);
    assert!(
        answer.text().contains("cuda:0 is out of memory"),
        "{}",
        answer.text()
    );
    assert_eq!(fake.count(0, Counter::UsedBytes), before);
    assert_eq!(fake.count(0, Counter::Streams), 3);
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "small", [1, 2, 3, 4]).0, 200);
    server.stop();
}

#[test]
fn a_batch_for_which_there_is_no_memory_fails_alone() {
    let fake = Fake::new();
    let models = Repository::empty();
    // Its size is not known beforehand, so it is taken when it is needed.
    let any = echo("any", "{ kind: KIND_GPU gpus: [ 0 ] }", "").replace("dims: 4", "dims: -1");
    models.add("any", &any, &[1]);
    let server = fake.start(models.path(), &[], &[("FAKE_CUDA_MEMORY_MB", "1")]);
    let infer = |count: usize| {
        let numbers = vec!["7"; count].join(",");
        let body = format!(
            r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[1,{count}],"data":[{numbers}]}}]}}"#
        );
        server.call("POST", "/v2/models/any/infer", &body)
    };
    assert_eq!(infer(4).status, 200);
    let refused = infer(400_000);
    assert!(
        refused.text().contains("cuda:0 is out of memory"),
        "{}",
        refused.text()
    );
    assert_eq!(infer(1000).status, 200);
    server.stop();
}

#[test]
fn a_device_that_dies_under_load_takes_only_its_own_batches_with_it() {
    // One instance, two batches under way at most, and three clients.
    survives("dies-when", &[], "CUDA_ERROR_ECC_UNCORRECTABLE", 1..=3);
}

#[test]
fn a_device_that_the_driver_reports_as_broken_is_left_though_its_calls_succeed() {
    survives("xid-95-when", &[], "Xid 95", 0..=3);
}

#[test]
fn a_device_that_the_driver_cannot_reach_is_left_where_there_are_no_events() {
    let without_events = [("FAKE_CUDA_EVENTS", "0")];
    survives("unreachable-when", &without_events, "cannot reach", 0..=3);
}

/// Has that happen to device 0 under load: so many requests may fail, with that reason.
fn survives(fault: &str, settings: &[(&str, &str)], reason: &str, failures: RangeInclusive<usize>) {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "both",
        &echo("both", "{ kind: KIND_GPU gpus: [ 0, 1 ] }", ""),
        &[1],
    );
    models.add(
        "other",
        &echo("other", "{ kind: KIND_GPU gpus: [ 1 ] }", ""),
        &[1],
    );
    models.add(
        "doomed",
        &echo("doomed", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    models.add("host", &echo("host", "{ kind: KIND_CPU }", ""), &[1]);
    let trigger = fake.trigger();
    let faults = format!("0:{fault}={}", trigger.display());
    let settings = [settings, &[("FAKE_CUDA_FAULTS", &faults)]].concat();
    let server = fake.start(models.path(), &[], &settings);
    let finished = AtomicBool::new(false);
    let failed = AtomicUsize::new(0);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for model in ["both", "both", "both", "other", "host"] {
            let (finished, failed, answered) = (&finished, &failed, &answered);
            let http = server.http;
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0.. {
                    if finished.load(Ordering::SeqCst) {
                        break;
                    }
                    let (status, text) = ask(&mut connection, model, [number; 4]);
                    answered.fetch_add(1, Ordering::SeqCst);
                    if status != 200 {
                        assert_eq!((status, model), (503, "both"), "{text}");
                        assert!(text.contains("cuda:0 is lost"), "{text}");
                        assert!(text.contains(reason), "{text}");
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let after = |count: usize| {
            let until = answered.load(Ordering::SeqCst) + count;
            wait_until("requests", || answered.load(Ordering::SeqCst) >= until);
        };
        after(100);
        fs::write(&trigger, "").unwrap();
        wait_until("the loss", || {
            metric(&server, "despina_gpu_lost", 0).as_deref() == Some("1")
        });
        after(500);
        finished.store(true, Ordering::SeqCst);
    });
    assert!(failures.contains(&failed.into_inner()), "failures");
    assert_eq!(metric(&server, "despina_gpu_lost", 1).as_deref(), Some("0"));
    let ready = |model: &str| {
        server
            .call("GET", &format!("/v2/models/{model}/ready"), "")
            .status
    };
    assert_eq!(["both", "other", "host"].map(ready), [200; 3]);
    assert_ne!(ready("doomed"), 200);
    assert!(!server.is_ready());
    let mut connection = Connection::open(server.http).unwrap();
    let (status, text) = ask(&mut connection, "doomed", [0; 4]);
    assert_eq!(status, 503);
    assert!(text.contains("cuda:0 is lost"), "{text}");
    server.stop();
}

#[test]
fn an_error_that_concerns_one_program_is_counted_and_stops_nothing() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("echo", &echo("echo", group, ""), &[1]);
    let trigger = fake.trigger();
    let faults = format!("0:xid-13-when={}", trigger.display());
    let settings = [("FAKE_CUDA_FAULTS", &*faults)];
    let flags = ["--metrics-interval-ms", "10"];
    let server = fake.start(models.path(), &flags, &settings);
    fs::write(&trigger, "").unwrap();
    wait_until("the error", || {
        let page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
        page.lines().any(|line| {
            line.starts_with("despina_gpu_xid_errors_total{") && line.ends_with("xid=\"13\"} 1")
        })
    });
    assert_eq!(metric(&server, "despina_gpu_lost", 0).as_deref(), Some("0"));
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "echo", [1, 2, 3, 4]).0, 200);
    server.stop();
}

#[test]
fn what_a_broken_device_does_not_finish_is_answered_all_the_same() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("echo", &echo("echo", group, ""), &[1]);
    let trigger = fake.trigger();
    let faults = format!("0:xid-79-when={}", trigger.display());
    // A copy takes longer than the client waits for its answer.
    let settings = [
        ("FAKE_CUDA_FAULTS", &*faults),
        ("FAKE_CUDA_COPY_US", "3000000"),
    ];
    let server = fake.start(models.path(), &[], &settings);
    let begun = Instant::now();
    let (status, text) = thread::scope(|scope| {
        let answer = scope.spawn(|| {
            let mut connection = Connection::open(server.http).unwrap();
            ask(&mut connection, "echo", [1, 2, 3, 4])
        });
        wait_until("the batch", || {
            metric(&server, "despina_pinned_pool_used_bytes", 0).is_some_and(|used| used != "0")
        });
        fs::write(&trigger, "").unwrap();
        answer.join().unwrap()
    });
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("Xid 79"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(6), "two copies");
    server.stop();
}

#[test]
fn five_hundred_loads_and_unloads_leave_nothing() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "stays",
        &echo("stays", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    models.add(
        "goes",
        &echo("goes", "{ kind: KIND_GPU gpus: [ 0, 1 ] }", ""),
        &[1],
    );
    let large =
        echo("large", "{ kind: KIND_GPU gpus: [ 1 ] }", "").replace("dims: 4", "dims: 1000000");
    models.add("large", &large, &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "stays"];
    let server = fake.start(models.path(), &flags, &[("FAKE_CUDA_MEMORY_MB", "64")]);
    let mut connection = Connection::open(server.http).unwrap();
    let alone = fake.count(0, Counter::UsedBytes);
    let mut before = None;
    for cycle in 0..500 {
        let mut control = |model: &str, act: &str| {
            let path = format!("/v2/repository/models/{model}/{act}");
            connection.post(&path, "{}").expect("an answer").status
        };
        assert_eq!(control("goes", "load"), 200);
        if cycle % 10 == 0 {
            assert_ne!(control("large", "load"), 200);
        }
        assert_eq!(ask(&mut connection, "goes", [cycle; 4]).0, 200);
        let path = "/v2/repository/models/goes/unload";
        assert_eq!(connection.post(path, "{}").unwrap().status, 200);
        // Instances end one after the other, and the answer does not wait for them.
        wait_until("the unload", || {
            [0, 1].map(|device| fake.count(device, Counter::UsedBytes)) == [alone, 0]
        });
        if cycle == 0 {
            before = Some(fake.held());
        }
    }
    assert_eq!(Some(fake.held()), before);
    assert_eq!(ask(&mut connection, "stays", [5; 4]).0, 200);
    server.stop();
}

/// A client with memory of its own on device 0, in a process of its own: four numbers at the
/// beginning, and room for four more.
struct Client {
    process: Child,
    /// By which the server opens its memory, in base64.
    handle: String,
}

const CLIENT: &str = "GPU_FAKE_CLIENT";
const NUMBERS: [i32; 4] = [11, -12, 13, -14];
const CLIENT_BYTES: usize = 4096;
const OUTPUT_AT: usize = 256;

impl Client {
    fn start(fake: &Fake) -> Self {
        let file = fake.folder.path().join("handle");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["the_client_of_the_test_below", "--exact"])
            .env(CLIENT, &file)
            .env("LD_LIBRARY_PATH", fake.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut handle = Vec::new();
        wait_until("the client's handle", || {
            assert!(
                process.try_wait().unwrap().is_none(),
                "the client has ended"
            );
            handle = fs::read(&file).unwrap_or_default();
            handle.len() == 64
        });
        let handle = BASE64_STANDARD.encode(handle);
        Self { process, handle }
    }

    /// Has it look at what it got; it ends well if that is right.
    fn finish(mut self) {
        drop(self.process.stdin.take());
        assert!(
            self.process.wait().unwrap().success(),
            "what the client got"
        );
    }
}

#[test]
fn the_client_of_the_test_below() {
    let Some(file) = std::env::var_os(CLIENT) else {
        return;
    };
    probe().unwrap();
    let memory = DeviceMemory::new(&Context::open(0).unwrap(), CLIENT_BYTES).unwrap();
    let bytes: Vec<u8> = NUMBERS.into_iter().flat_map(i32::to_le_bytes).collect();
    let input = memory.span(0, bytes.len()).unwrap();
    input.store(bytes.clone().into()).unwrap();
    fs::write(file, memory.share().unwrap()).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let output = memory.span(OUTPUT_AT, bytes.len()).unwrap();
    assert_eq!(output.fetch().unwrap(), bytes);
}

/// A request whose tensors are in region `r`, the input at `offset`.
fn shared_body(offset: usize) -> String {
    let place = |offset: usize| {
        format!(
            r#"{{"shared_memory_region":"r","shared_memory_byte_size":16,"shared_memory_offset":{offset}}}"#
        )
    };
    format!(
        r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[1,4],"parameters":{}}}],
            "outputs":[{{"name":"OUT","parameters":{}}}]}}"#,
        place(offset),
        place(OUTPUT_AT)
    )
}

#[test]
fn tensors_in_a_clients_device_memory_do_not_pass_through_the_host() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "gpu",
        &echo("gpu", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    models.add(
        "far",
        &echo("far", "{ kind: KIND_GPU gpus: [ 1 ] }", ""),
        &[1],
    );
    models.add("host", &echo("host", "{ kind: KIND_CPU }", ""), &[1]);
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    let client = Client::start(&fake);
    let register = |byte_size: usize| {
        let path = "/v2/cudasharedmemory/region/r/register";
        let handle = &client.handle;
        let body = format!(
            r#"{{"raw_handle":{{"b64":"{handle}"}},"device_id":0,"byte_size":{byte_size}}}"#
        );
        server.call("POST", path, &body)
    };
    let refused = register(CLIENT_BYTES + 1);
    assert!(
        refused.text().contains("allocation of 4096 bytes"),
        "{}",
        refused.text()
    );
    assert_eq!(register(CLIENT_BYTES).status, 200);

    let infer = |model: &str, offset: usize| {
        let path = format!("/v2/models/{model}/infer");
        server.call("POST", &path, &shared_body(offset))
    };
    let downloaded = fake.count(0, Counter::DownloadedBytes);
    let uploaded = fake.count(0, Counter::UploadedBytes);
    assert_eq!(infer("gpu", 0).status, 200);
    // The output's way to the host and into the client's memory; the input has none.
    assert_eq!(fake.count(0, Counter::DownloadedBytes) - downloaded, 16);
    assert_eq!(fake.count(0, Counter::UploadedBytes) - uploaded, 16);
    // An address that no kernel could read from is copied first.
    assert_eq!(infer("gpu", 4).status, 200);
    assert_ne!(infer("gpu", CLIENT_BYTES - 8).status, 200);
    assert_eq!(infer("host", 0).status, 200);
    // Together with what others send.
    thread::scope(|scope| {
        for sender in 0..4 {
            let http = server.http;
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0..50 {
                    assert_eq!(ask(&mut connection, "gpu", [sender, number, 0, 1]).0, 200);
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(infer("gpu", 0).status, 200);
        }
    });
    assert_eq!(infer("far", 0).status, 200);
    client.finish();
    server.stop();
}
