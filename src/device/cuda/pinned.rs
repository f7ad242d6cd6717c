//! Host memory that devices copy from and to while the host goes on.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ffi::c_void, sync::Arc};

use cudarc::driver::sys::{self, CUdeviceptr};

use super::{Context, DeviceError};

/// For every context, and mapped for kernels to read.
const FLAGS: u32 = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;

/// A range of the host's memory that is pinned while this lives.
#[derive(Debug)]
pub struct PinnedRange {
    context: Arc<Context>,
    address: *mut c_void,
    device_address: CUdeviceptr,
}

// SAFETY: the address is only passed to the driver, which may be called from any thread.
unsafe impl Send for PinnedRange {}
// SAFETY: as above.
unsafe impl Sync for PinnedRange {}

impl PinnedRange {
    /// Pins `byte_size` bytes.
    ///
    /// # Errors
    /// If the system does not allow so much.
    ///
    /// # Safety
    /// The memory is mapped, and stays so until the value is dropped.
    pub(in crate::device) unsafe fn new(
        context: &Arc<Context>,
        address: *mut c_void,
        byte_size: usize,
    ) -> Result<Self, DeviceError> {
        context.enter()?;
        // SAFETY: what the caller promises; a context is current.
        let result = unsafe { sys::cuMemHostRegister_v2(address, byte_size, FLAGS) };
        context.check("cuMemHostRegister", result)?;
        let mut pinned = Self {
            context: Arc::clone(context),
            address,
            device_address: 0,
        };
        let found = &raw mut pinned.device_address;
        // SAFETY: the memory has been pinned and mapped for the context, which is current; the pointer
        // is to a live integer.
        let result = unsafe { sys::cuMemHostGetDevicePointer_v2(found, address, 0) };
        context.check("cuMemHostGetDevicePointer", result)?;
        Ok(pinned)
    }

    /// Where the context's kernels find it.
    pub(in crate::device) fn device_address(&self) -> CUdeviceptr {
        self.device_address
    }
}

impl Drop for PinnedRange {
    fn drop(&mut self) {
        let _ = self.context.enter();
        // SAFETY: it was pinned once for this value, and work that uses it holds it.
        unsafe { sys::cuMemHostUnregister(self.address) };
    }
}
