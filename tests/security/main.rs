//! Who may do what, on the running server: keys, tokens, certificates, the policy, and their files
//! while they change.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

#[path = "../common/mod.rs"]
mod common;
mod jwks_url;
mod keys;
mod management;
mod past;
mod rig;
mod tls;
mod tokens;
