//! What a stream can be given to do.

use std::{ffi::c_void, sync::Arc, time::Duration};

use crate::{
    code::Code, counters::Counter, device::Device, event::Mark, kernels::Launch, state::state,
};

/// One operation, in a stream or in a graph.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Bytes from one place to another.
    Copy {
        direction: Direction,
        destination: u64,
        source: Source,
        byte_size: u64,
    },
    /// Every byte of a span of device memory is set.
    Fill {
        address: u64,
        value: u8,
        byte_size: u64,
    },
    Launch(Launch),
    Graph(Arc<[Operation]>),
    Record(Arc<Mark>),
    Wait(Arc<Mark>),
    Free(u64),
    Call(Callback),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Upload,
    Download,
    /// On one device, or between two.
    Across,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Address(u64),
    /// What pageable memory held when the copy was asked for.
    Snapshot(Arc<[u8]>),
}

/// A function of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    /// As a number, for it is passed on and never used here.
    pub(crate) argument: usize,
}

impl Operation {
    /// Does it, on the stream's own thread.
    pub(crate) fn run(&self, device: &Device, priority: i32) -> Result<(), Code> {
        match self {
            Self::Record(mark) => mark.reach(),
            Self::Wait(mark) => mark.wait(),
            Self::Graph(operations) => {
                device.add(Counter::Launches, 1);
                for operation in operations.iter() {
                    operation.run(device, priority)?;
                }
            }
            Self::Call(callback) => callback.call(),
            Self::Free(address) => free(*address)?,
            Self::Launch(launch) => {
                device.operate()?;
                device.add(Counter::Launches, 1);
                compute(device, priority, state().settings.kernel_latency, || {
                    launch.run()
                })?;
            }
            Self::Fill {
                address,
                value,
                byte_size,
            } => {
                device.operate()?;
                compute(device, priority, Duration::ZERO, || {
                    state().memory.fill(*address, *value, *byte_size)
                })?;
            }
            Self::Copy {
                direction,
                destination,
                source,
                byte_size,
            } => copy(
                device,
                priority,
                *direction,
                *destination,
                source,
                *byte_size,
            )?,
        }
        Ok(())
    }
}

/// Gives back device memory; what belongs to another process is only let go.
pub(crate) fn free(address: u64) -> Result<(), Code> {
    let allocation = state().memory.remove(address)?;
    if !allocation.is_imported {
        state()
            .device(allocation.device)?
            .subtract(Counter::UsedBytes, allocation.charged_byte_size());
    }
    Ok(())
}

fn compute(
    device: &Device,
    priority: i32,
    least: Duration,
    work: impl FnOnce() -> Result<(), Code>,
) -> Result<(), Code> {
    let (result, took) = device.compute.run(priority, least, work);
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    device.add(Counter::BusyNanoseconds, nanoseconds);
    result
}

fn copy(
    device: &Device,
    priority: i32,
    direction: Direction,
    destination: u64,
    source: &Source,
    byte_size: u64,
) -> Result<(), Code> {
    device.operate()?;
    let (engine, counter) = match direction {
        Direction::Upload => (&device.upload, Some(Counter::UploadedBytes)),
        Direction::Download => (&device.download, Some(Counter::DownloadedBytes)),
        Direction::Across => (&device.download, None),
    };
    let from = match source {
        Source::Address(address) => *address,
        Source::Snapshot(bytes) => bytes.as_ptr() as u64,
    };
    let least = state().settings.copy_time(byte_size);
    let copy = || state().memory.copy(destination, from, byte_size);
    engine.run(priority, least, copy).0?;
    if let Some(counter) = counter {
        device.add(counter, byte_size);
    }
    Ok(())
}

impl Callback {
    fn call(self) {
        let argument = self.argument as *mut c_void;
        // SAFETY: who put the function into the stream promised that it may be called with this.
        unsafe { (self.function)(argument) };
    }
}
