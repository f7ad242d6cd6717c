//! What a small request costs the server, in instructions of the program that the tests run, which is
//! not optimised: the number means nothing by itself, but it does not depend on what else the machine
//! does, and it grows when the path of a request does. Counted by valgrind's callgrind; without
//! valgrind, which `.ci/run` installs, nothing is counted, and the test says so.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod common;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use common::{Repository, Server, identity_config};

/// Protocols, and the instructions that a request over each came to when this was last looked at:
/// `cargo test --test instructions -- --nocapture`.
const USUAL: [(&str, u64); 2] = [("http", 156_000), ("grpc", 238_000)];
/// Other compilers and other versions of libraries make for some of a difference; what is beyond this
/// has to be looked at. In percent.
const MOST: u64 = 125;
/// Far less than usual is good news, but a bound that is far away is none.
const LEAST: u64 = 75;
/// The cost of a request is the difference between two runs, so that starting costs nothing.
const FEW: u64 = 100;
const MANY: u64 = 600;

#[test]
fn a_small_request_costs_what_it_did() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("not counted: there is no valgrind");
        return;
    }
    let repository = Repository::empty();
    repository.add("echo", &identity_config("TYPE_FP32", 8, ""), &[1]);
    let count = |protocol: Option<&str>| run(repository.path(), protocol);
    let few = count(None);
    for (protocol, usual) in USUAL {
        let each = (count(Some(protocol)) - few) / (MANY - FEW);
        eprintln!("{protocol}: {each} instructions a request");
        assert!(
            (usual * LEAST..=usual * MOST).contains(&(each * 100)),
            "{protocol}: {each} instructions a request, usual are {usual}"
        );
    }
}

/// Instructions of a server, from its start to its end, that answers many requests over one
/// protocol, and few over the others.
fn run(repository: &Path, often: Option<&str>) -> u64 {
    let folder = tempfile::tempdir().expect("temporary folder");
    let counts = folder.path().join("counts");
    let server = Server::start_counted(repository, &counts);
    for (protocol, address) in [("http", server.http), ("grpc", server.grpc)] {
        let count = if often == Some(protocol) { MANY } else { FEW };
        ask(address, protocol, count);
    }
    server.stop();
    let counts = fs::read_to_string(&counts).expect("callgrind's file");
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.expect("totals")
}

fn ask(address: SocketAddr, protocol: &str, count: u64) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .args(["perf", "-m", "echo", "--shape", "INPUT0:16", "-i", protocol])
        .args(["-u", &address.to_string(), "--warmup-interval", "0"])
        .args(["--concurrency-range", "1"])
        .args(["--request-count", &count.to_string()])
        .output()
        .expect("despina perf");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
