//! Where instances run, as the program says it and as the kernel sees it: the plan, fallbacks, and
//! threads that are bound. The machine needs no GPU.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{Repository, Server, identity_config};

fn check(repository: &Repository, flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .arg("check")
        .arg(repository.path())
        .args(flags)
        .output()
        .expect("despina check");
    (output.status.code(), text(&output))
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).expect("text")
}

/// The first words of each row that a plan has for `model`: its instances and their devices.
fn rows<'a>(plan: &'a str, model: &str) -> Vec<[&'a str; 2]> {
    plan.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 3 && words[0] == model)
        .map(|words| [words[2], words[3]])
        .collect()
}

fn with_group(group: &str, rest: &str) -> String {
    identity_config("TYPE_FP32", 4, rest)
        .replace("{ kind: KIND_CPU count: 1 }", &format!("{{ {group} }}"))
}

#[test]
fn a_plan_for_a_machine_that_is_not_there_says_what_fits() {
    let repository = Repository::empty();
    let footprint = "parameters { key: \"footprint_byte_size\" value: { string_value: \"600\" } }";
    repository.add("auto", &with_group("", footprint), &[1]);
    repository.add(
        "first",
        &with_group("kind: KIND_GPU gpus: 0", footprint),
        &[1],
    );
    repository.add("host", &identity_config("TYPE_FP32", 4, ""), &[3]);
    fs::write(repository.path().join("host/3/weights"), [0; 77]).unwrap();

    let (code, plan) = check(&repository, &["--plan", "--devices", "2x1500"]);
    assert_eq!(code, Some(0), "{plan}");
    assert_eq!(
        rows(&plan, "auto"),
        [["auto_0_0", "cuda:0"], ["auto_0_0", "cuda:1"]]
    );
    assert_eq!(rows(&plan, "first"), [["first_0_0", "cuda:0"]]);
    assert_eq!(rows(&plan, "host"), [["host_0_0", "cpu"]]);
    assert!(plan.contains("~77 "), "{plan}");
    assert!(plan.contains("all 4 instances fit"), "{plan}");

    // Packed, the one replica keeps away from the GPU that somebody has to be on.
    let packed = ["--plan", "--devices=2x1500", "--auto-placement=pack"];
    let (_, plan) = check(&repository, &packed);
    assert_eq!(rows(&plan, "auto"), [["auto_0_0", "cuda:1"]], "{plan}");

    // Who may falls to the CPU; who may not is said not to fit.
    let limited = ["--plan", "--devices=1x1500", "--model-load-gpu-limit=0:0.3"];
    let (code, plan) = check(&repository, &limited);
    assert_eq!(code, Some(1), "{plan}");
    assert_eq!(rows(&plan, "auto"), [["auto_0_0", "cpu"]]);
    assert_eq!(rows(&plan, "first"), [["first_0_0", "none"]]);
    assert!(plan.contains("GPU 0 has 450 of 600 bytes left"), "{plan}");
    assert!(plan.contains("1 of 3 do not fit"), "{plan}");

    let (code, plan) = check(&repository, &["--plan", "--devices", "0"]);
    assert_eq!(code, Some(1), "{plan}");
    assert!(
        plan.contains("has kind KIND_GPU but no GPUs are available"),
        "{plan}"
    );
}

#[test]
fn devices_can_come_from_a_file_and_must_be_readable() {
    let repository = Repository::empty();
    repository.add("auto", &with_group("", ""), &[1]);
    let file = repository.path().join(".devices.yaml");
    fs::write(
        &file,
        "- { memory_byte_size: 9, compute_capability: [6, 0] }\n- memory_byte_size: 9\n",
    )
    .unwrap();
    let (code, plan) = check(
        &repository,
        &["--plan", "--devices", file.to_str().unwrap()],
    );
    assert_eq!(code, Some(0), "{plan}");
    // The first one is too old to be used.
    assert_eq!(rows(&plan, "auto"), [["auto_0_0", "cuda:1"]]);
    let (code, said) = check(&repository, &["--plan", "--devices", "eight"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--devices eight"), "{said}");
}

#[test]
fn a_gpu_that_is_not_there_is_replaced_only_where_the_configuration_allows_it() {
    let repository = Repository::empty();
    let any = "parameters { key: \"device_fallback\" value: { string_value: \"any\" } }";
    repository.add("auto", &with_group("gpus: 40", ""), &[1]);
    repository.add(
        "moved",
        &with_group("kind: KIND_GPU gpus: 40 count: 2", any),
        &[1],
    );
    repository.add("strict", &with_group("kind: KIND_GPU gpus: 40", ""), &[1]);
    let flags = ["--strict-readiness=false", "--exit-on-error=false"];
    let server = Server::start_plain(repository.path(), &flags);
    for (model, count) in [("auto", 1), ("moved", 2)] {
        let config = server.call("GET", &format!("/v2/models/{model}/config"), "");
        let group = &config.json()["instance_group"][0];
        assert_eq!(group["kind"], "KIND_CPU", "{group}");
        assert_eq!(group["count"], count, "{group}");
        assert_eq!(group["gpus"].as_array().map(Vec::len), Some(0), "{group}");
    }
    let index = server.call("POST", "/v2/repository/index", "");
    let reason = index
        .json()
        .as_array()
        .expect("index")
        .iter()
        .find(|entry| entry["name"] == "strict")
        .map(|entry| entry["reason"].to_string());
    let reason = reason.expect("strict");
    assert!(
        reason.contains("instance group strict_0 of model strict"),
        "{reason}"
    );
    server.terminate();
    let log = server.wait(common::PATIENCE).stderr;
    let line = log.lines().find(|line| line.contains("runs elsewhere"));
    let line = line.unwrap_or_else(|| panic!("not logged:\n{log}"));
    assert!(line.contains("moved") && line.contains("40"), "{line}");
}

#[test]
fn threads_of_instances_run_where_their_host_policy_says() {
    let repository = Repository::empty();
    repository.add("bound", &identity_config("TYPE_FP32", 4, ""), &[1]);
    let named = with_group("kind: KIND_CPU host_policy: \"free\"", "");
    repository.add("free", &named, &[1]);
    let allowed = common::allowed_cores(Path::new("/proc/self/status"));
    let last = allowed.rsplit(['-', ',']).next().expect("a core");
    let policy = format!("--host-policy=cpu,cpu-cores={last}");
    let server = Server::start_plain(repository.path(), &[&policy]);
    assert_eq!(server.cores_of("bound_0_0"), [last]);
    assert_eq!(server.cores_of("free_0_0"), [allowed.as_str()]);
    server.terminate();
    let log = server.wait(common::PATIENCE).stderr;
    assert!(log.contains("no settings for"), "{log}");
}

#[test]
fn cores_that_are_not_there_end_the_start() {
    let repository = Repository::empty();
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .args([
            "serve",
            "--http-port=0",
            "--grpc-port=0",
            "--metrics-port=0",
        ])
        .arg("--model-repository")
        .arg(repository.path())
        .arg("--host-policy=cpu,cpu-cores=0-1023")
        .output()
        .expect("despina serve");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("host policy 'cpu': core "), "{said}");
}
