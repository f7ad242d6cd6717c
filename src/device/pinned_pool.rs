//! Pinned host memory for one device: taken once, near the device, and given out in parts. A device
//! copies to and from it while the host goes on. When it is used up the host's ordinary memory is
//! given out instead, which is slower and never fails.

#![expect(
    unsafe_code,
    reason = "memory is mapped, placed and pinned through C interfaces"
)]

use std::{
    io, ptr, slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;

use super::{
    PoolUsage,
    arena::{Arena, Part},
    cuda::{Context, DeviceError, PinnedRange},
};

/// Threads that touch a new region for the first time.
const TOUCHING_THREADS: usize = 4;
/// What each touches at once.
const TOUCHED_BYTES: usize = 4 << 20;

/// The pinned memory of one device.
#[derive(Debug)]
pub struct PinnedPool {
    region: Region,
    arena: Mutex<Arena>,
    pageable_count: AtomicU64,
}

impl PinnedPool {
    /// Takes and pins `byte_size` bytes, on `numa_node` if that is known. Takes about half a second
    /// for a GiB.
    ///
    /// # Errors
    /// If there is not so much memory, or it cannot be pinned.
    pub fn new(
        context: &Arc<Context>,
        byte_size: usize,
        numa_node: Option<u32>,
    ) -> Result<Arc<Self>, DeviceError> {
        let region = Region::new(context, byte_size, numa_node)?;
        Ok(Arc::new(Self {
            arena: Mutex::new(Arena::new(byte_size)),
            region,
            pageable_count: AtomicU64::new(0),
        }))
    }

    /// `byte_size` bytes, of any content. They come back when the slab, or the last slice of what it
    /// was frozen into, is dropped.
    pub fn take(self: &Arc<Self>, byte_size: usize) -> HostSlab {
        let part = self.arena().take(byte_size);
        let Some(part) = part else {
            self.pageable_count.fetch_add(1, Ordering::Relaxed);
            return HostSlab::pageable(byte_size);
        };
        HostSlab {
            home: Home::Pinned(Arc::clone(self), part),
            byte_size,
        }
    }

    /// Where the device's kernels find `bytes`, which it reads and writes over the bus; `None` unless
    /// they are this pool's.
    pub fn device_address(&self, bytes: &[u8]) -> Option<u64> {
        self.region.device_address(bytes)
    }

    /// What it has and gave.
    pub fn usage(&self) -> PoolUsage {
        let arena = self.arena();
        PoolUsage {
            byte_size: arena.byte_size(),
            used_byte_size: arena.used_byte_size(),
            overflow_count: self.pageable_count.load(Ordering::Relaxed),
        }
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Host memory with one owner, pinned unless the pool was used up.
#[derive(Debug)]
pub struct HostSlab {
    home: Home,
    byte_size: usize,
}

#[derive(Debug)]
enum Home {
    Pinned(Arc<PinnedPool>, Part),
    Pageable(Box<[u8]>),
}

impl HostSlab {
    /// Ordinary memory, for who has no pool.
    pub(super) fn pageable(byte_size: usize) -> Self {
        Self {
            home: Home::Pageable(vec![0; byte_size].into()),
            byte_size,
        }
    }

    /// Whether a device can copy from and to it while the host goes on.
    pub fn is_pinned(&self) -> bool {
        matches!(self.home, Home::Pinned(..))
    }

    /// The same bytes, shared from now on and not to be changed.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for HostSlab {
    fn as_ref(&self) -> &[u8] {
        match &self.home {
            Home::Pageable(bytes) => bytes,
            Home::Pinned(pool, part) => {
                // SAFETY: the part lies inside the region, which the pool keeps alive, was written
                // when the region was made, and nobody else has it.
                unsafe { slice::from_raw_parts(pool.region.at(part.offset), self.byte_size) }
            }
        }
    }
}

impl std::ops::Deref for HostSlab {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl std::ops::DerefMut for HostSlab {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.home {
            Home::Pageable(bytes) => bytes,
            Home::Pinned(pool, part) => {
                // SAFETY: as in `as_ref`, and `self` is borrowed for as long.
                unsafe { slice::from_raw_parts_mut(pool.region.at(part.offset), self.byte_size) }
            }
        }
    }
}

impl Drop for HostSlab {
    fn drop(&mut self) {
        if let Home::Pinned(pool, part) = &self.home {
            pool.arena().give(part);
        }
    }
}

/// Mapped host memory, pinned while it lives.
#[derive(Debug)]
struct Region {
    // Unpinned before it is unmapped: fields are dropped in this order.
    pinned: PinnedRange,
    mapping: Mapping,
}

impl Region {
    fn new(
        context: &Arc<Context>,
        byte_size: usize,
        numa_node: Option<u32>,
    ) -> Result<Self, DeviceError> {
        let mut mapping = Mapping::new(byte_size).map_err(|error| DeviceError::Failed {
            device: context.device(),
            call: "mmap",
            code: error.to_string(),
        })?;
        if let Some(node) = numa_node {
            mapping.prefer(node);
        }
        mapping.touch();
        // SAFETY: the mapping is ours, and stays until the value that is made here is dropped.
        let pinned = unsafe { PinnedRange::new(context, mapping.address.cast(), byte_size) }?;
        Ok(Self { pinned, mapping })
    }

    fn device_address(&self, bytes: &[u8]) -> Option<u64> {
        let offset = bytes
            .as_ptr()
            .addr()
            .checked_sub(self.mapping.address.addr())?;
        let end = offset.checked_add(bytes.len())?;
        (end <= self.mapping.byte_size).then_some(())?;
        self.pinned
            .device_address()
            .checked_add(u64::try_from(offset).ok()?)
    }

    /// The arena's offsets are inside.
    fn at(&self, offset: usize) -> *mut u8 {
        self.mapping.address.wrapping_add(offset)
    }
}

/// Anonymous memory, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    address: *mut u8,
    byte_size: usize,
}

// SAFETY: memory belongs to no thread; who may touch which part is the arena's business.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(byte_size: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping is asked for; no memory that exists is touched.
        let address = unsafe { libc::mmap(ptr::null_mut(), byte_size, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            address: address.cast(),
            byte_size,
        })
    }

    /// Asks that its pages be on that node. A kernel that does not know how, or a node without room,
    /// is no reason to fail.
    fn prefer(&mut self, node: u32) {
        let Some(mask) = 1_u64.checked_shl(node) else {
            return;
        };
        // SAFETY: the mapping is ours, and the mask is one word that lives.
        unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.address,
                self.byte_size,
                libc::MPOL_PREFERRED,
                &raw const mask,
                u64::from(u64::BITS),
                0,
            )
        };
    }

    /// Has every page made now, by several threads, and not when a request waits for it.
    fn touch(&mut self) {
        // SAFETY: the mapping is ours, readable and writable, and nobody else knows of it yet.
        let bytes = unsafe { slice::from_raw_parts_mut(self.address, self.byte_size) };
        let share = bytes.len().div_ceil(TOUCHING_THREADS).max(TOUCHED_BYTES);
        thread::scope(|scope| {
            for part in bytes.chunks_mut(share) {
                scope.spawn(|| part.fill(0));
            }
        });
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every slab of it kept the pool alive.
        unsafe { libc::munmap(self.address.cast(), self.byte_size) };
    }
}
