//! Plans on pretend GPUs, run by a pretend TensorRT: the real server, from a plan in a folder to the
//! answer, and everything that can be wrong with a plan. It says nothing about TensorRT or a GPU.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod building;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod execution;
mod factory;
mod faults;
mod lean;
mod loading;
mod rig;
