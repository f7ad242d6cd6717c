//! What deployments are made of, held against the program: the image, compose files, manifests, and the
//! dashboard. `tests/container/rehearse.py` carries the image's steps out.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod image;
mod manifests;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the project.
fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(project(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
