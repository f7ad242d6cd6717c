//! Devices that fail under load.

use std::{
    fs,
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Fake, ask,
    common::{Connection, Repository, call, wait_until},
    echo, metric,
};

/// The driver reports nothing by itself.
const WITHOUT_EVENTS: [(&str, &str); 1] = [("FAKE_CUDA_EVENTS", "0")];

#[test]
fn a_device_that_dies_under_load_takes_only_its_own_batches_with_it() {
    // One instance, two batches under way at most, and three clients. Without events: what the driver
    // reports may come before the call that fails, with another reason.
    let reason = "CUDA_ERROR_ECC_UNCORRECTABLE";
    survives("dies-when", &WITHOUT_EVENTS, reason, 1..=3);
}

#[test]
fn a_device_that_the_driver_reports_as_broken_is_left_though_its_calls_succeed() {
    survives("xid-95-when", &[], "Xid 95", 0..=3);
}

#[test]
fn a_device_that_the_driver_cannot_reach_is_left_where_there_are_no_events() {
    survives("unreachable-when", &WITHOUT_EVENTS, "cannot reach", 0..=3);
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
fn a_part_of_a_gpu_shares_the_fate_of_the_whole() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 1 ] }";
    models.add("echo", &echo("echo", group, ""), &[1]);
    let trigger = fake.trigger();
    let faults = format!("1:xid-79-when={}", trigger.display());
    let settings = [("FAKE_CUDA_FAULTS", &*faults), ("FAKE_CUDA_MIG", "1")];
    let server = fake.start(models.path(), &[], &settings);
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "echo", [1, 2, 3, 4]).0, 200);
    // The event is told of the whole GPU, whose UUID is another.
    fs::write(&trigger, "").unwrap();
    wait_until("the loss", || {
        ask(&mut connection, "echo", [1, 2, 3, 4]).0 == 503
    });
    let (_, text) = ask(&mut connection, "echo", [1, 2, 3, 4]);
    assert!(text.contains("Xid 79"), "{text}");
    server.stop();
}

#[test]
fn what_is_loaded_after_a_loss_goes_elsewhere_if_it_may() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("first", &echo("first", group, ""), &[1]);
    let fallback = "parameters { key: 'device_fallback' value: { string_value: 'any' } }";
    models.add("moves", &echo("moves", group, fallback), &[1]);
    models.add("stays", &echo("stays", group, ""), &[1]);
    let trigger = fake.trigger();
    let faults = format!("0:xid-79-when={}", trigger.display());
    let settings = [("FAKE_CUDA_FAULTS", &*faults)];
    let flags = ["--model-control-mode", "explicit", "--load-model", "first"];
    let server = fake.start(models.path(), &flags, &settings);
    fs::write(&trigger, "").unwrap();
    wait_until("the loss", || {
        metric(&server, "despina_gpu_lost", 0).as_deref() == Some("1")
    });
    let load =
        |model: &str| server.call("POST", &format!("/v2/repository/models/{model}/load"), "{}");
    assert_eq!(load("moves").status, 200);
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "moves", [1, 2, 3, 4]).0, 200);
    let refused = load("stays");
    assert!(
        refused.text().contains("GPU 0 was lost"),
        "{}",
        refused.text()
    );
    server.stop();
}
