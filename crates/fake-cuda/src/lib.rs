//! A pretend CUDA driver and NVML in one library, so that a machine without a GPU can run the real
//! server on eight. Everything about it is fake and says so: devices are called `Fake GPU n`, the
//! driver's version ends in `fake`. It proves ordering, ownership, accounting and behaviour in failure;
//! it proves nothing about speed, and nothing about a real GPU.
//!
//! [`install`] puts the library into a folder under the names of both, as links to one file: a process
//! that opens both opens one library with one state.
//!
//! # Settings, all by environment variables
//!
//! | variable | default | meaning |
//! | --- | --- | --- |
//! | `FAKE_CUDA_DEVICES` | 8 | how many devices there are, at most 16 |
//! | `FAKE_CUDA_MEMORY_MB` | 1024 | each one's memory, in MiB |
//! | `FAKE_CUDA_DRIVER` | 13000 | the CUDA version that the driver says it has |
//! | `FAKE_CUDA_INIT_ERROR` | 0 | what `cuInit` and `nvmlInit` answer |
//! | `FAKE_CUDA_NUMA_NODES` | 0 | device *n* is nearest to node *n* modulo this; 0: not known |
//! | `FAKE_CUDA_MIG` | | ordinals of GPUs that are divided (MIG), such as `0,3`: CUDA shows their only part |
//! | `FAKE_CUDA_COPY_US` | 0 | how long each copy takes at least, in µs |
//! | `FAKE_CUDA_COPY_MB_PER_S` | 0 | and how fast it is, in MiB/s; 0: as fast as this machine copies |
//! | `FAKE_CUDA_KERNEL_US` | 0 | how long each kernel takes at least, in µs |
//! | `FAKE_CUDA_EVENTS` | 1 | 0: NVML has no events |
//! | `FAKE_CUDA_FAULTS` | | what goes wrong, see below |
//! | `FAKE_CUDA_COUNTERS` | | a file of counters that processes share, see [`counters`] |
//!
//! `FAKE_CUDA_FAULTS` is a list such as `2:dies-after=1000,*:out-of-memory-after=5`: an ordinal or `*`,
//! and
//! - `no-context`: no context can be made on it;
//! - `out-of-memory-after=<n>`: each allocation after the first *n* fails, though memory is left;
//! - `dies-after=<n>`: after *n* operations on its streams it has an uncorrectable memory error;
//! - `dies-when=<path>`: the same, once that file exists;
//! - `xid-<number>-when=<path>`: NVML tells of that error, once, when the file exists; everything goes on;
//! - `unreachable-when=<path>`: once the file exists NVML answers that the GPU is lost; everything goes on.
//!
//! # What it does as a driver does
//!
//! - A stream is a thread of its own with a queue; calls return at once. A copy from pageable memory
//!   takes a snapshot, one to pageable memory waits, one from or to pinned memory does neither.
//! - Each device has a compute engine and a copy engine for each direction. An engine does one thing
//!   at a time, what has the highest stream priority first.
//! - Device addresses fault when the host dereferences them. A copy or kernel that leaves its
//!   allocation kills the context: every later call answers with that error, and NVML has an Xid event.
//! - Freeing device memory with `cuMemFree` waits for the device. Memory is counted and runs out.
//! - Stream capture, also over several streams joined by events, yields graphs that can be launched.
//! - Memory is shared between processes by IPC handles.
//! - Handles are checked: a destroyed stream or event is an error, not a crash.
//!
//! # What it does not do
//!
//! - Kernels are not run: those in [`kernels`], and those of the server, are emulated on the CPU by their
//!   entry name.
//! - The default stream does not wait for other streams. Stream capture has one mode, and does not
//!   refuse allocations.
//! - `cuGetProcAddress` and `cuGetExportTable` are not there, so nothing that uses the CUDA
//!   runtime library (ONNX Runtime, TensorRT) runs on it.

mod code;
pub mod counters;
mod device;
mod driver;
mod engine;
mod event;
mod fault;
mod graph;
mod house;
mod install;
mod ipc;
pub mod kernels;
mod memory;
mod nvml;
mod operation;
#[path = "../../../src/device/kernels/plain/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the server uses the rest")]
mod plain;
mod settings;
mod state;
mod stream;
mod table;
/// As much of the server's room as `plain` uses.
mod tensor {
    pub(crate) use crate::top_k::top_k;
}
#[path = "../../../src/tensor/top_k.rs"]
mod top_k;

pub use self::{
    code::Code,
    install::{install, library},
};
