//! What the metrics page says of GPUs: the running server on pretend ones, and on none.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{PATIENCE, Repository, Server, call, wait_until};

const QUICKLY: [&str; 2] = ["--metrics-interval-ms", "10"];

/// A model whose only instance is on GPU 1.
const ECHO: &str = "backend: 'identity' max_batch_size: 0
    input { name: 'IN' data_type: TYPE_INT32 dims: 1 }
    output { name: 'OUT' data_type: TYPE_INT32 dims: 1 }
    instance_group { kind: KIND_GPU gpus: 1 }";

/// A server that finds the pretend driver and NVML, with these settings of theirs.
fn server(repository: &Repository, flags: &[&str], settings: &[(&str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    fake_cuda::install(folder.path()).unwrap();
    let path = folder.path().to_str().unwrap();
    let settings = [&[("LD_LIBRARY_PATH", path)], settings].concat();
    let server = Server::start_in(repository.path(), flags, &settings);
    if !flags.contains(&"--allow-gpu-metrics=false") {
        // Then the library has been opened, and the folder may go.
        wait_until("a sample", || {
            page(server.metrics).contains("nv_gpu_utilization")
        });
    }
    server
}

fn page(metrics: SocketAddr) -> String {
    let answer = call(metrics, "GET", "/metrics", "").unwrap();
    assert_eq!(answer.status, 200);
    answer.text()
}

/// Label values and number of each series of a family.
fn series<'a>(page: &'a str, family: &str) -> Vec<(&'a str, f64)> {
    let start = format!("{family}{{");
    page.lines()
        .filter_map(|line| line.strip_prefix(&start)?.split_once("} "))
        .map(|(labels, value)| (labels, value.parse().unwrap()))
        .collect()
}

#[test]
fn each_gpu_is_told_under_tritons_names() {
    let repository = Repository::empty();
    let settings = [("FAKE_CUDA_DEVICES", "3"), ("FAKE_CUDA_MEMORY_MB", "64")];
    let server = server(&repository, &QUICKLY, &settings);
    let page = page(server.metrics);
    for (family, kind) in [
        ("nv_gpu_utilization", "gauge"),
        ("nv_gpu_memory_total_bytes", "gauge"),
        ("nv_gpu_memory_used_bytes", "gauge"),
        ("nv_gpu_power_usage", "gauge"),
        ("nv_gpu_power_limit", "gauge"),
        ("nv_energy_consumption", "counter"),
    ] {
        assert!(
            page.contains(&format!("# TYPE {family} {kind}\n")),
            "{family}"
        );
        let series = series(&page, family);
        assert_eq!(series.len(), 3, "{family}");
        for (labels, _) in series {
            assert!(labels.starts_with("gpu_uuid=\"GPU-"), "{labels}");
            assert_eq!(labels.split(',').count(), 1, "{labels}");
        }
    }
    let first = |family| series(&page, family)[0].1;
    assert_eq!(first("nv_gpu_memory_total_bytes"), f64::from(64 << 20));
    // In watts; the library tells milliwatts.
    assert_eq!(first("nv_gpu_power_usage"), 100.0);
    assert_eq!(first("nv_gpu_power_limit"), 700.0);
    server.stop();
}

#[test]
fn energy_counts_from_the_servers_start_and_grows() {
    let repository = Repository::empty();
    let server = server(&repository, &QUICKLY, &[("FAKE_CUDA_DEVICES", "1")]);
    let energy = || series(&page(server.metrics), "nv_energy_consumption")[0].1;
    let (first, start) = (energy(), Instant::now());
    wait_until("more energy", || energy() > first);
    let last = energy();
    // A pretend GPU draws 100 W since its library was opened, about when the server started.
    let most = 100.0 * (start.elapsed() + PATIENCE).as_secs_f64();
    assert!(last < most, "{last} J");
    server.stop();
}

#[test]
fn what_triton_does_not_tell_has_names_of_its_own() {
    let repository = Repository::empty();
    let server = server(
        &repository,
        &QUICKLY,
        &[("FAKE_CUDA_DEVICES", "2"), ("FAKE_CUDA_MIG", "1")],
    );
    let page = page(server.metrics);
    let values = |family| -> Vec<f64> {
        let series = series(&page, family).into_iter();
        series.map(|(_, value)| value).collect()
    };
    assert_eq!(values("despina_gpu_temperature_celsius"), [40.0, 41.0]);
    assert_eq!(values("despina_gpu_mig_enabled"), [0.0, 1.0]);
    assert_eq!(values("despina_mig_gpu_slices"), [1.0]);
    assert_eq!(values("despina_mig_compute_slices"), [1.0]);
    let [(labels, total)] = series(&page, "despina_mig_memory_total_bytes")[..] else {
        panic!("one GPU is divided:\n{page}");
    };
    assert_eq!(total, 1_073_741_824.0);
    let expected = "gpu_uuid=\"GPU-46414b45-4355-4441-0000-000000000001\",\
                    mig_uuid=\"MIG-46414b45-4355-4441-0100-000000000001\"";
    assert_eq!(labels, expected);
    assert_eq!(values("despina_gpu_clock_hertz").len(), 8);
    assert_eq!(values("despina_gpu_clock_throttled").len(), 18);
    assert_eq!(values("despina_gpu_ecc_errors_total"), [0.0; 4]);
    assert_eq!(values("despina_gpu_pcie_bytes_per_second").len(), 4);
    let memory_clock = series(&page, "despina_gpu_clock_hertz")
        .into_iter()
        .find(|(labels, _)| labels.ends_with("clock=\"memory\""));
    assert_eq!(memory_clock.unwrap().1, 2_619_000_000.0);
    server.stop();
}

#[test]
fn the_documentation_lists_every_family_and_no_other() {
    let repository = Repository::empty();
    let server = server(&repository, &QUICKLY, &[("FAKE_CUDA_DEVICES", "1")]);
    // Its value is a difference over time, of which some must have passed.
    let mut text = String::new();
    wait_until("the CPU's use", || {
        text = page(server.metrics);
        text.contains("nv_cpu_utilization")
    });
    let announced = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<_> = announced.filter_map(|line| line.split_once(' ')).collect();
    let document = include_str!("../docs/metrics.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .filter_map(|row| {
            let (family, rest) = row.split_once('`')?;
            Some((family, rest.split('|').nth(1)?.trim()))
        })
        // It has no series before the first error, and others only where a GPU is divided.
        .filter(|(family, _)| *family != "despina_gpu_xid_errors_total")
        .filter(|(family, _)| !family.starts_with("despina_mig_"))
        // Only where keys of tokens are fetched: the tests of security look at it.
        .filter(|(family, _)| *family != "despina_jwks_fetches_total")
        .collect();
    assert_eq!(families, documented);
    server.stop();
}

#[test]
fn a_driver_that_does_not_start_and_a_wish_for_none_leave_gpus_out() {
    let repository = Repository::empty();
    let unwanted = ["--allow-gpu-metrics=false"];
    let unwanted = server(&repository, &unwanted, &[]);
    let folder = tempfile::tempdir().unwrap();
    fake_cuda::install(folder.path()).unwrap();
    let settings = [
        ("LD_LIBRARY_PATH", folder.path().to_str().unwrap()),
        ("FAKE_CUDA_INIT_ERROR", "999"),
    ];
    let broken = Server::start_in(repository.path(), &QUICKLY, &settings);
    for server in [unwanted, broken] {
        assert!(server.is_ready());
        assert!(!page(server.metrics).contains("gpu_uuid"));
        server.stop();
    }
}

#[test]
fn a_server_ends_soon_though_the_next_sample_is_far() {
    let repository = Repository::empty();
    let flags = ["--metrics-interval-ms", "3600000"];
    let server = server(&repository, &flags, &[("FAKE_CUDA_DEVICES", "1")]);
    server.terminate();
    assert_eq!(server.wait(Duration::from_secs(20)).code, Some(0));
}

#[test]
fn a_gpu_that_dies_is_counted_by_its_errors() {
    let repository = Repository::empty();
    repository.add("echo", ECHO, &[1]);
    let settings = [
        ("FAKE_CUDA_DEVICES", "2"),
        ("FAKE_CUDA_FAULTS", "1:dies-after=20"),
    ];
    let server = server(&repository, &QUICKLY, &settings);
    assert!(!page(server.metrics).contains("despina_gpu_xid_errors_total"));
    let body = r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[7]}]}"#;
    wait_until("its death", || {
        server.call("POST", "/v2/models/echo/infer", body).status != 200
    });
    wait_until("its error", || {
        page(server.metrics).contains("despina_gpu_xid_errors_total")
    });
    let page = page(server.metrics);
    let [(labels, count)] = series(&page, "despina_gpu_xid_errors_total")[..] else {
        panic!("more than one GPU died:\n{page}");
    };
    // An uncorrectable error of the memory.
    assert!(labels.ends_with("0001\",xid=\"48\""), "{labels}");
    assert_eq!(count, 1.0);
    let errors = series(&page, "despina_gpu_ecc_errors_total");
    let died: Vec<_> = errors
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .collect();
    assert_eq!(died.len(), 1, "{died:?}");
    assert!(
        died[0].0.ends_with("0001\",kind=\"uncorrected\""),
        "{died:?}"
    );
    server.stop();
}
