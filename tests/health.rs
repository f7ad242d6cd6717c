//! `despina health` against the running server: every door, and every exit code.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Command, Output},
    thread,
};

use common::{Repository, Server, call, identity_config, wait_until};

const READY: i32 = 0;
const NOT_READY: i32 = 1;
const NO_ANSWER: i32 = 2;

/// Exit code, and what it said on either stream.
fn health(flags: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_despina"));
    command.arg("health").args(flags);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("despina health");
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code().expect("an exit code"), said.into_owned())
}

fn health_of(scheme: &str, address: SocketAddr, path: &str) -> (i32, String) {
    health(&["--url", &format!("{scheme}://{address}{path}")])
}

fn repository() -> Repository {
    let repository = Repository::empty();
    repository.add("model", &identity_config("TYPE_FP32", 0, ""), &[1]);
    repository
}

#[test]
fn a_ready_server_is_ready_at_every_door() {
    let repository = repository();
    let server = Server::start_plain(repository.path(), &[]);
    for (scheme, address, path) in [
        ("http", server.http, ""),
        ("http", server.http, "/v2/health/ready"),
        ("http", server.metrics, "/metrics"),
        ("grpc", server.grpc, ""),
    ] {
        let (code, said) = health_of(scheme, address, path);
        assert_eq!(code, READY, "{scheme} {path}: {said}");
    }
    server.stop();
}

#[test]
fn encrypted_doors_are_asked_without_their_certificates_being_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("crt"), file("key"));
    let made = rcgen::generate_simple_self_signed(["despina.example".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let flags = [
        ["--http-use-ssl", "true"],
        ["--http-server-cert", &certificate],
        ["--http-server-key", &key],
        ["--grpc-use-ssl", "true"],
        ["--grpc-server-cert", &certificate],
        ["--grpc-server-key", &key],
    ];
    let repository = repository();
    let server = Server::start_plain(repository.path(), &flags.concat());
    for (scheme, address) in [("https", server.http), ("grpcs", server.grpc)] {
        let (code, said) = health_of(scheme, address, "");
        assert_eq!(code, READY, "{scheme}: {said}");
    }
    let (code, said) = health_of("http", server.http, "");
    assert_eq!(code, NO_ANSWER, "{said}");
    server.stop();
}

#[test]
fn a_server_that_loads_says_no_and_why() {
    let repository = repository();
    let late = "parameters { key: 'creation_delay_sec' value { string_value: '60' } }";
    repository.add("late", &identity_config("TYPE_FP32", 0, late), &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "model"];
    let server = Server::start_plain(repository.path(), &flags);
    let address = server.http;
    thread::spawn(move || call(address, "POST", "/v2/repository/models/late/load", "{}"));
    wait_until("the model is being loaded", || {
        call(address, "GET", "/readyz", "").unwrap().status == 503
    });
    let (code, said) = health_of("http", address, "");
    assert_eq!(code, NOT_READY, "{said}");
    assert!(said.contains("not every model is ready"), "{said}");
}

#[test]
fn what_does_not_answer_is_neither() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for scheme in ["http", "https", "grpc", "grpcs"] {
        let url = format!("{scheme}://{address}");
        let (code, said) = health(&["--url", &url, "--timeout", "0.1"]);
        assert_eq!(code, NO_ANSWER, "{said}");
        assert!(said.contains("no answer within 100ms"), "{said}");
    }
    drop(silent);
    let (code, said) = health(&["--url", &format!("http://{address}")]);
    assert_eq!(code, NO_ANSWER, "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn what_is_no_answer_to_the_question_is_neither() {
    let repository = repository();
    let server = Server::start_plain(repository.path(), &[]);
    for (scheme, address, path) in [
        ("http", server.http, "/nowhere"),
        ("http", server.grpc, ""),
        ("grpc", server.http, ""),
    ] {
        let (code, said) = health_of(scheme, address, path);
        assert_eq!(code, NO_ANSWER, "{scheme} {address}{path}: {said}");
    }
    let (code, _) = health(&["--url", "127.0.0.1:8000"]);
    assert_eq!(code, NO_ANSWER);
    server.stop();
}
