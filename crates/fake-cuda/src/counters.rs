//! What is allocated and what was done, counted where another process can see it: the file that
//! `FAKE_CUDA_COUNTERS` names is mapped by every process that uses the fake driver, and they add to the
//! same numbers. So a test can ask from outside whether a server has given everything back. What a
//! process held when it was killed stays counted.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::Path,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::settings::DEVICE_LIMIT;

/// One number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Device memory in use, in bytes.
    UsedBytes,
    /// Primary contexts that are retained.
    Contexts,
    /// Streams.
    Streams,
    /// Events.
    Events,
    /// Graphs, and executable ones.
    Graphs,
    /// Modules.
    Modules,
    /// Pinned host memory, in bytes, allocated while this device's context was current.
    PinnedBytes,
    /// Allocations of device memory so far.
    Allocations,
    /// Kernels and graphs launched so far.
    Launches,
    /// Bytes copied from the host so far.
    UploadedBytes,
    /// Bytes copied to the host so far.
    DownloadedBytes,
    /// How long the compute engine has worked, in nanoseconds.
    BusyNanoseconds,
    /// Copies so far from or to host memory that was not pinned.
    PageableCopies,
}

const PER_DEVICE: usize = 16;

/// The counters of one device.
pub(crate) type DeviceCounters = [AtomicU64; PER_DEVICE];

type Shared = [DeviceCounters; DEVICE_LIMIT];

/// Reads one number of device `ordinal` from the file that `FAKE_CUDA_COUNTERS` named.
///
/// # Errors
/// If the file cannot be read, or is shorter than it must be.
pub fn read(path: &Path, ordinal: usize, counter: Counter) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    let at = (ordinal * PER_DEVICE + counter as usize) * size_of::<u64>();
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|number| u64::from_ne_bytes(*number))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

pub(crate) fn add(counters: &DeviceCounters, counter: Counter, amount: u64) {
    counters[counter as usize].fetch_add(amount, Ordering::SeqCst);
}

pub(crate) fn subtract(counters: &DeviceCounters, counter: Counter, amount: u64) {
    counters[counter as usize].fetch_sub(amount, Ordering::SeqCst);
}

pub(crate) fn value(counters: &DeviceCounters, counter: Counter) -> u64 {
    counters[counter as usize].load(Ordering::SeqCst)
}

/// Maps the file, or memory of this process's own if there is none.
///
/// # Panics
/// If the file cannot be mapped.
pub(crate) fn map(path: Option<&Path>) -> &'static Shared {
    let file = path.map(|path| {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("open FAKE_CUDA_COUNTERS");
        file.set_len(size_of::<Shared>() as u64)
            .expect("size of FAKE_CUDA_COUNTERS");
        file
    });
    let (flags, fd) = match &file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping is asked for; no memory that exists is touched.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<Shared>(),
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            fd,
            0,
        )
    };
    assert_ne!(address, libc::MAP_FAILED, "mmap of the counters");
    // SAFETY: the mapping is as large as `Shared`, page aligned, zeroed or written by this crate as
    // atomics, and never unmapped; atomics may be shared with other processes.
    unsafe { &*address.cast::<Shared>() }
}
