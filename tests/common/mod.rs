//! What the tests that start the real binary share: a running server, model folders to serve, a
//! plain HTTP/1.1 connection, and a Python with the packages of `python/requirements.txt`.
//! Holds no expectations about the server's answers.

// Every test crate compiles this module and uses its own part of it.
#![allow(dead_code, unused_imports)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod http;
mod once;
mod python;
mod repository;
mod server;
mod tls;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use self::{
    http::{Answer, Connection, call},
    once::folder as made_once,
    python::{Python, python, run_module},
    repository::{Repository, fixtures, identity_config},
    server::{Ended, Server, allowed_cores},
    tls::Certified,
};

/// How long anything that should happen soon may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until `condition` holds; fails after [`PATIENCE`]. For states of another process, which
/// cannot wake us.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
