//! Memory of a device.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{any::Any, ffi::c_void, ptr, sync::Arc};

use cudarc::driver::sys::{self, CUdeviceptr, CUresult};

use super::{Context, DeviceError};
use crate::tensor::{Memory, MemoryKind};

/// One allocation of a device's memory, freed on drop. Made by `cuMemAlloc`, so that it can be
/// shared with another process; making and freeing it holds up the device.
#[derive(Debug)]
pub struct DeviceMemory {
    context: Arc<Context>,
    address: CUdeviceptr,
    byte_size: usize,
}

impl DeviceMemory {
    /// Takes `byte_size` bytes, at least one.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if the device has not so much left.
    pub fn new(context: &Arc<Context>, byte_size: usize) -> Result<Arc<Self>, DeviceError> {
        context.enter()?;
        let byte_size = byte_size.max(1);
        let mut address = 0;
        // SAFETY: the pointer is to a live integer, and a context is current.
        let result = unsafe { sys::cuMemAlloc_v2(&raw mut address, byte_size) };
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return Err(DeviceError::OutOfMemory {
                device: context.device(),
                byte_size,
                free_byte_size: context.memory()?.0,
            });
        }
        context.check("cuMemAlloc", result)?;
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            address,
            byte_size,
        }))
    }

    /// `byte_size` bytes from `offset` on; `None` if they are not there.
    pub fn span(self: &Arc<Self>, offset: usize, byte_size: usize) -> Option<DeviceSpan> {
        DeviceSpan::of(self, offset, byte_size, Arc::clone(self) as _)
    }

    /// The device's context.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// How many bytes there are.
    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Where it is, as engines are told; the host cannot follow it.
    pub fn pointer(&self) -> *mut c_void {
        pointer(self.address)
    }

    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }
}

/// An address of a device as C passes it.
fn pointer(address: CUdeviceptr) -> *mut c_void {
    // An address that does not fit is none that this machine has.
    ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0))
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // On a lost device there is no context to enter, and the driver frees with the process.
        let _ = self.context.enter();
        // SAFETY: the allocation is ours. Work that uses it holds it, and the driver waits for the
        // device besides.
        unsafe { sys::cuMemFree_v2(self.address) };
    }
}

/// Part of a device's memory, which it keeps alive.
#[derive(Clone, Debug)]
pub struct DeviceSpan {
    context: Arc<Context>,
    address: CUdeviceptr,
    byte_size: usize,
    /// Frees the memory, or gives it back to whom it was taken from, when the last clone is dropped.
    owner: Arc<dyn Send + Sync + std::fmt::Debug>,
}

impl DeviceSpan {
    /// `byte_size` bytes from `offset` on of `memory`, owned by `owner`, which keeps it alive;
    /// `None` if they are not there.
    pub(in crate::device) fn of(
        memory: &DeviceMemory,
        offset: usize,
        byte_size: usize,
        owner: Arc<dyn Send + Sync + std::fmt::Debug>,
    ) -> Option<Self> {
        let end = offset.checked_add(byte_size)?;
        (end <= memory.byte_size()).then_some(())?;
        Self::at(memory.context(), memory.address(), offset, byte_size, owner)
    }

    pub(super) fn at(
        context: &Arc<Context>,
        base: CUdeviceptr,
        offset: usize,
        byte_size: usize,
        owner: Arc<dyn Send + Sync + std::fmt::Debug>,
    ) -> Option<Self> {
        Some(Self {
            context: Arc::clone(context),
            address: base.checked_add(u64::try_from(offset).ok()?)?,
            byte_size,
            owner,
        })
    }

    /// `byte_size` bytes of it from `offset` on; `None` if it does not have them.
    #[must_use]
    pub fn part(&self, offset: usize, byte_size: usize) -> Option<Self> {
        let end = offset.checked_add(byte_size)?;
        (end <= self.byte_size).then_some(())?;
        let owner = Arc::clone(&self.owner);
        Self::at(&self.context, self.address, offset, byte_size, owner)
    }

    /// The context of the device whose memory it is.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Whether both are the same bytes of the same device.
    pub fn is_same(&self, other: &Self) -> bool {
        self.context.ordinal() == other.context.ordinal()
            && self.address == other.address
            && self.byte_size == other.byte_size
    }

    /// Whether it begins where any kernel may read any type: an address that is not is an error after
    /// which the device is lost.
    pub fn is_aligned(&self) -> bool {
        const ALIGNMENT: CUdeviceptr = 256;
        self.address.is_multiple_of(ALIGNMENT)
    }

    /// Where it begins, as engines are told; the host cannot follow it.
    pub fn pointer(&self) -> *mut c_void {
        pointer(self.address)
    }

    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }
}

impl Memory for DeviceSpan {
    fn kind(&self) -> MemoryKind {
        MemoryKind::Device(self.context.ordinal())
    }

    fn byte_size(&self) -> usize {
        self.byte_size
    }

    fn host(&self) -> Option<&[u8]> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
