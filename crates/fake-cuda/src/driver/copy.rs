//! Copies, and setting of memory.

use std::{ffi::c_uchar, slice, sync::Arc};

use super::{current, exported, stream::given};
use crate::{
    code::Code,
    counters::Counter,
    operation::{Direction, Operation, Source},
    state::{default_stream, state},
    stream::Stream,
    table::Handle,
};

/// Bytes of the host, as C passes them.
#[repr(transparent)]
pub struct HostBytes(*const u8);

impl HostBytes {
    fn address(&self) -> u64 {
        self.0 as u64
    }

    fn snapshot(&self, byte_size: usize) -> Arc<[u8]> {
        if byte_size == 0 {
            return Arc::default();
        }
        // SAFETY: such a pointer comes from C only, and the header says that so much can be read.
        unsafe { slice::from_raw_parts(self.0, byte_size) }.into()
    }
}

pub(super) fn across(destination: u64, source: u64, byte_size: usize) -> Operation {
    Operation::Copy {
        direction: Direction::Across,
        destination,
        source: Source::Address(source),
        byte_size: byte_size as u64,
    }
}

/// Memory that is not pinned may change or go away after the call, so it is read now.
fn upload(
    queue: &Stream,
    destination: u64,
    source: &HostBytes,
    byte_size: usize,
) -> Result<(), Code> {
    let source = if state().memory.is_pinned(source.address(), byte_size as u64) {
        Source::Address(source.address())
    } else {
        queue.refuse_capture()?;
        state()
            .device(queue.device)?
            .add(Counter::PageableCopies, 1);
        Source::Snapshot(source.snapshot(byte_size))
    };
    queue.push(Operation::Copy {
        direction: Direction::Upload,
        destination,
        source,
        byte_size: byte_size as u64,
    })
}

/// Memory that is not pinned must be written before the call returns.
fn download(queue: &Stream, destination: u64, source: u64, byte_size: usize) -> Result<(), Code> {
    let is_pinned = state().memory.is_pinned(destination, byte_size as u64);
    if !is_pinned {
        queue.refuse_capture()?;
        state()
            .device(queue.device)?
            .add(Counter::PageableCopies, 1);
    }
    queue.push(Operation::Copy {
        direction: Direction::Download,
        destination,
        source: Source::Address(source),
        byte_size: byte_size as u64,
    })?;
    match is_pinned {
        true => Ok(()),
        false => queue.synchronize(),
    }
}

exported! {
    fn cuMemcpyHtoDAsync_v2(destination: u64, source: HostBytes, byte_size: usize, queue: Handle) {
        upload(&*given(queue)?, destination, &source, byte_size)
    }

    fn cuMemcpyDtoHAsync_v2(destination: u64, source: u64, byte_size: usize, queue: Handle) {
        download(&*given(queue)?, destination, source, byte_size)
    }

    fn cuMemcpyDtoDAsync_v2(destination: u64, source: u64, byte_size: usize, queue: Handle) {
        given(queue)?.push(across(destination, source, byte_size))
    }

    fn cuMemcpyHtoD_v2(destination: u64, source: HostBytes, byte_size: usize) {
        let queue = default_stream(current()?);
        upload(queue, destination, &source, byte_size)?;
        queue.synchronize()
    }

    fn cuMemcpyDtoH_v2(destination: u64, source: u64, byte_size: usize) {
        let queue = default_stream(current()?);
        download(queue, destination, source, byte_size)?;
        queue.synchronize()
    }

    fn cuMemcpyDtoD_v2(destination: u64, source: u64, byte_size: usize) {
        let queue = default_stream(current()?);
        queue.push(across(destination, source, byte_size))?;
        queue.synchronize()
    }

    fn cuMemsetD8Async(address: u64, value: c_uchar, byte_size: usize, queue: Handle) {
        given(queue)?.push(Operation::Fill {
            address,
            value,
            byte_size: byte_size as u64,
        })
    }
}
