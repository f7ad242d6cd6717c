//! Batches on their way through pinned and device memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use fake_cuda::counters::Counter;

use crate::{
    Fake, ask,
    common::{Connection, Repository, Server, call, wait_until},
    echo, metric,
};

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

/// Zeros after five milliseconds, by two instances with weights of a MiB each.
const SIMULATED: &str = "backend: 'simulated' max_batch_size: 4
    input { name: 'IN' data_type: TYPE_INT32 dims: 4 }
    output { name: 'OUT' data_type: TYPE_INT32 dims: 4 }
    instance_group { kind: KIND_GPU gpus: [ 0 ] count: 2 }
    parameters { key: 'latency_us' value: { string_value: '5000' } }
    parameters { key: 'weights_byte_size' value: { string_value: '1048576' } }
    parameters { key: 'workspace_byte_size' value: { string_value: '65536' } }";

/// Runs one request, and says how long its input, its execution and its output took.
fn compute_milliseconds(server: &Server) -> [u64; 3] {
    let body = r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,4],"data":[1,2,3,4]}]}"#;
    let answer = server.call("POST", "/v2/models/simulated/infer", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let statistics = server.call("GET", "/v2/models/simulated/stats", "").json();
    let times = &statistics["model_stats"][0]["inference_stats"];
    ["compute_input", "compute_infer", "compute_output"]
        .map(|name| times[name]["ns"].as_u64().unwrap() / 1_000_000)
}

#[test]
fn computing_is_told_apart_from_copying_and_accounted_to_the_model() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add("simulated", SIMULATED, &[1]);
    // Copies take far longer than the computation, also on a busy machine.
    let copies = [("FAKE_CUDA_COPY_US", "400000")];
    let flags = ["--model-control-mode", "explicit", "--load-model", "*"];
    let server = fake.start(models.path(), &flags, &copies);
    let [input, infer, output] = compute_milliseconds(&server);
    assert!(
        input >= 400 && infer < 400 && output >= 400,
        "{input} {infer} {output}"
    );

    let page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
    let labels =
        "{model=\"simulated\",version=\"1\",gpu_uuid=\"GPU-46414b45-4355-4441-0000-000000000000\"";
    let value = |family: &str, more: &str| -> f64 {
        let series = format!("{family}{labels}{more}}} ");
        let mut lines = page.lines();
        let found = lines.find_map(|line| line.strip_prefix(&series));
        found
            .unwrap_or_else(|| panic!("{series}\n{page}"))
            .parse()
            .unwrap()
    };
    let held = |purpose: &str| {
        let purpose = format!(",purpose=\"{purpose}\"");
        value("despina_model_gpu_memory_bytes", &purpose)
    };
    assert_eq!(held("weights"), 2.0 * 1_048_576.0);
    assert_eq!(held("workspace"), 2.0 * 65_536.0);
    assert_eq!(held("graphs"), 0.0);
    // An input and an output of up to four rows, for two batches under way, of two instances.
    assert_eq!(held("io"), 512.0 * 2.0 * 2.0 * 2.0);
    let busy = value("despina_model_gpu_busy_seconds_total", "");
    assert!(busy > 0.0 && busy < 0.4, "{busy}");

    let statistics = server.call("GET", "/v2/models/simulated/stats", "").json();
    let total = 2 * (1_048_576 + 65_536) + 4096;
    let usage = serde_json::json!([{"type": "GPU", "id": 0, "byte_size": total}]);
    assert_eq!(statistics["model_stats"][0]["memory_usage"], usage);

    let path = "/v2/repository/models/simulated/unload";
    assert_eq!(server.call("POST", path, "{}").status, 200);
    wait_until("the unload", || fake.count(0, Counter::UsedBytes) == 0);
    let page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
    assert!(!page.contains("despina_model_gpu_memory_bytes{"), "{page}");
    server.stop();
}
