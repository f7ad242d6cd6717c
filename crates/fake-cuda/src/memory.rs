//! Device memory and pinned host memory. Device memory is a shared mapping whose address is given out
//! with a bit set that no host address has, so that the host cannot use it by mistake.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, RawFd},
    ptr,
    sync::{PoisonError, RwLock},
};

use crate::code::Code;

/// Set in every device address.
const DEVICE_BIT: u64 = 1 << 62;
/// What the driver rounds allocations up to.
const GRANULE: u64 = 512;

/// Everything that is allocated.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By device address.
    allocations: RwLock<BTreeMap<u64, Allocation>>,
    /// By host address.
    pinned: RwLock<BTreeMap<u64, Pinned>>,
}

/// One allocation of device memory.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) device: usize,
    /// As it was asked for.
    pub(crate) byte_size: u64,
    /// Whether it belongs to another process.
    pub(crate) is_imported: bool,
    mapping: Mapping,
}

/// Pinned host memory.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) device: usize,
    pub(crate) byte_size: u64,
    /// `None` if it was registered, that is, belongs to somebody else.
    _mapping: Option<Mapping>,
}

impl Allocation {
    pub(crate) fn file(&self) -> RawFd {
        self.mapping.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// What it takes of the device's memory.
    pub(crate) fn charged_byte_size(&self) -> u64 {
        charge(self.byte_size)
    }
}

/// What an allocation of so many bytes takes.
pub(crate) fn charge(byte_size: u64) -> u64 {
    byte_size.max(1).next_multiple_of(GRANULE)
}

/// Whether that is a device address.
pub(crate) fn is_device(address: u64) -> bool {
    address & DEVICE_BIT != 0
}

impl Memory {
    /// New device memory; accounting is the caller's.
    pub(crate) fn allocate(&self, device: usize, byte_size: u64) -> Result<u64, Code> {
        let file = memory_file().map_err(|_| Code::OUT_OF_MEMORY)?;
        file.set_len(charge(byte_size))
            .map_err(|_| Code::OUT_OF_MEMORY)?;
        self.map(device, byte_size, file, false)
    }

    /// Memory of another process, by a file that it made.
    pub(crate) fn import(&self, device: usize, byte_size: u64, file: File) -> Result<u64, Code> {
        self.map(device, byte_size, file, true)
    }

    fn map(
        &self,
        device: usize,
        byte_size: u64,
        file: File,
        is_imported: bool,
    ) -> Result<u64, Code> {
        let mapping = Mapping::new(charge(byte_size), Some(file)).ok_or(Code::OUT_OF_MEMORY)?;
        let address = mapping.address | DEVICE_BIT;
        let allocation = Allocation {
            device,
            byte_size,
            is_imported,
            mapping,
        };
        self.write_allocations(|allocations| allocations.insert(address, allocation));
        Ok(address)
    }

    /// Takes an allocation out; it is gone when the value is dropped.
    pub(crate) fn remove(&self, address: u64) -> Result<Allocation, Code> {
        self.write_allocations(|allocations| allocations.remove(&address))
            .ok_or(Code::INVALID_VALUE)
    }

    /// Asks about the allocation that `address` is in; also given its first address.
    pub(crate) fn allocation<R>(
        &self,
        address: u64,
        ask: impl FnOnce(u64, &Allocation) -> R,
    ) -> Result<R, Code> {
        self.read_allocations(|allocations| {
            let (&base, allocation) = around(allocations, address).ok_or(Code::INVALID_VALUE)?;
            if address - base >= allocation.byte_size.max(1) {
                return Err(Code::INVALID_VALUE);
            }
            Ok(ask(base, allocation))
        })
    }

    pub(crate) fn pin(&self, device: usize, byte_size: u64) -> Result<u64, Code> {
        let mapping = Mapping::new(byte_size.max(1), None).ok_or(Code::OUT_OF_MEMORY)?;
        let address = mapping.address;
        self.add_pinned(address, device, byte_size, Some(mapping));
        Ok(address)
    }

    pub(crate) fn register(&self, address: u64, device: usize, byte_size: u64) {
        self.add_pinned(address, device, byte_size, None);
    }

    fn add_pinned(&self, address: u64, device: usize, byte_size: u64, mapping: Option<Mapping>) {
        let pinned = Pinned {
            device,
            byte_size,
            _mapping: mapping,
        };
        self.pinned
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(address, pinned);
    }

    pub(crate) fn unpin(&self, address: u64) -> Result<Pinned, Code> {
        self.pinned
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&address)
            .ok_or(Code::INVALID_VALUE)
    }

    /// Whether all of it is pinned.
    pub(crate) fn is_pinned(&self, address: u64, byte_size: u64) -> bool {
        let pinned = self.pinned.read().unwrap_or_else(PoisonError::into_inner);
        around(&pinned, address)
            .is_some_and(|(base, pinned)| address - base + byte_size <= pinned.byte_size)
    }

    /// Copies between any two places.
    pub(crate) fn copy(&self, destination: u64, source: u64, byte_size: u64) -> Result<(), Code> {
        self.read_allocations(|allocations| {
            let to = host(allocations, destination, byte_size)?;
            let from = host(allocations, source, byte_size)?;
            // SAFETY: device spans were found inside mappings that the lock keeps alive; host spans
            // are what the caller of the driver promised to be valid until the copy is done.
            unsafe { ptr::copy(from as *const u8, to as *mut u8, byte_size as usize) };
            Ok(())
        })
    }

    /// Sets every byte of a span of device memory.
    pub(crate) fn fill(&self, address: u64, value: u8, byte_size: u64) -> Result<(), Code> {
        self.read_allocations(|allocations| {
            let to = host(allocations, address, byte_size)?;
            // SAFETY: as in `copy`.
            unsafe { ptr::write_bytes(to as *mut u8, value, byte_size as usize) };
            Ok(())
        })
    }

    fn read_allocations<R>(&self, act: impl FnOnce(&BTreeMap<u64, Allocation>) -> R) -> R {
        act(&self
            .allocations
            .read()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn write_allocations<R>(&self, act: impl FnOnce(&mut BTreeMap<u64, Allocation>) -> R) -> R {
        act(&mut self
            .allocations
            .write()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

fn around<T>(spans: &BTreeMap<u64, T>, address: u64) -> Option<(&u64, &T)> {
    spans.range(..=address).next_back()
}

/// Where the host finds a span: a device address must lie in one allocation, with all of it.
fn host(
    allocations: &BTreeMap<u64, Allocation>,
    address: u64,
    byte_size: u64,
) -> Result<u64, Code> {
    if !is_device(address) {
        return Ok(address);
    }
    let (base, allocation) = around(allocations, address).ok_or(Code::ILLEGAL_ADDRESS)?;
    let end = (address - base).checked_add(byte_size);
    match end.is_some_and(|end| end <= allocation.byte_size) {
        true => Ok(address & !DEVICE_BIT),
        false => Err(Code::ILLEGAL_ADDRESS),
    }
}

/// A mapping of our own, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    address: u64,
    byte_size: usize,
    file: Option<File>,
}

impl Mapping {
    fn new(byte_size: u64, file: Option<File>) -> Option<Self> {
        let byte_size = usize::try_from(byte_size).ok()?;
        let (flags, fd) = match &file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping is asked for; no memory that exists is touched.
        let address = unsafe { libc::mmap(ptr::null_mut(), byte_size, protection, flags, fd, 0) };
        (address != libc::MAP_FAILED).then_some(Self {
            address: address as u64,
            byte_size,
            file,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and whoever could still find it has let go of the lock.
        unsafe { libc::munmap(self.address as *mut libc::c_void, self.byte_size) };
    }
}

fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a C string; nothing else is passed.
    let fd = unsafe { libc::memfd_create(c"fake-cuda".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}
