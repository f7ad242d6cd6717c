//! The CUDA kernels without a GPU: that the binaries are those of the sources, for which GPUs they are,
//! and that the sources, compiled for the CPU, compute what the plain forms do.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a C++ library is opened and called")]

mod binaries;
mod host;
mod sources;
