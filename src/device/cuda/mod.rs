//! CUDA devices, by the driver's own interface: contexts, streams, events, graphs, kernels, memory.
//!
//! The driver is opened at run time. [`probe`] asks first, and never panics: nothing else in this
//! room may be used before it has found devices. Bindings are cudarc's lowest shelf. Those above it
//! record two events for every slice that two streams share; here streams are ordered by who uses
//! them, and what they use stays alive until they have passed ([`Work`]).

mod context;
mod error;
mod event;
mod exchange;
mod graph;
mod ipc;
mod kernel;
mod kernels;
mod memory;
mod pinned;
mod probe;
mod span_copy;
mod stream;
#[cfg(test)]
mod tests;
mod work;

pub use self::{
    context::Context,
    error::DeviceError,
    graph::Graph,
    ipc::ImportedMemory,
    kernel::{Argument, Kernel, Module},
    kernels::{Kernels, Scores},
    memory::{DeviceMemory, DeviceSpan},
    pinned::PinnedRange,
    probe::probe,
    span_copy::{Piece, Place},
    stream::{Priority, Stream},
    work::{Landed, Pending, Work},
};
