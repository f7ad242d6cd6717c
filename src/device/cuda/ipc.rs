//! Memory of a device that belongs to another process.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::sync::Arc;

use cudarc::driver::sys::{self, CUdeviceptr, CUipcMem_flags, CUipcMemHandle};

use super::{Context, DeviceError, DeviceMemory, DeviceSpan};

/// An allocation that another process made, closed on drop. What it holds can change at any time, and
/// the host cannot read it.
#[derive(Debug)]
pub struct ImportedMemory {
    context: Arc<Context>,
    address: CUdeviceptr,
    byte_size: usize,
}

impl ImportedMemory {
    /// Opens what the other process's handle stands for.
    ///
    /// # Errors
    /// If the handle stands for nothing, or for memory of this process.
    pub fn open(context: &Arc<Context>, handle: [u8; 64]) -> Result<Arc<Self>, DeviceError> {
        context.enter()?;
        let handle = CUipcMemHandle {
            reserved: handle.map(u8::cast_signed),
        };
        let flags = CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
        let mut address = 0;
        // SAFETY: the pointer is to a live integer, and a context is current; the driver checks what
        // is in a handle.
        let result = unsafe { sys::cuIpcOpenMemHandle_v2(&raw mut address, handle, flags) };
        context.check("cuIpcOpenMemHandle", result)?;
        let mut opened = Self {
            context: Arc::clone(context),
            address,
            byte_size: 0,
        };
        opened.byte_size = opened.ask_byte_size()?;
        Ok(Arc::new(opened))
    }

    /// How large the allocation is, whatever its owner says.
    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// `byte_size` bytes from `offset` on; `None` if the allocation does not have them.
    pub fn span(self: &Arc<Self>, offset: usize, byte_size: usize) -> Option<DeviceSpan> {
        let end = offset.checked_add(byte_size)?;
        (end <= self.byte_size).then_some(())?;
        let owner = Arc::clone(self);
        DeviceSpan::at(&self.context, self.address, offset, byte_size, owner)
    }

    fn ask_byte_size(&self) -> Result<usize, DeviceError> {
        let (mut base, mut byte_size) = (0, 0);
        // SAFETY: the pointers are to live integers, and the address was just opened.
        let result = unsafe {
            sys::cuMemGetAddressRange_v2(&raw mut base, &raw mut byte_size, self.address)
        };
        self.context.check("cuMemGetAddressRange", result)?;
        Ok(byte_size)
    }
}

impl Drop for ImportedMemory {
    fn drop(&mut self) {
        let _ = self.context.enter();
        // SAFETY: it was opened once for this value, and work that uses it holds it.
        unsafe { sys::cuIpcCloseMemHandle(self.address) };
    }
}

impl DeviceMemory {
    /// A handle by which another process can open this allocation while it lives.
    ///
    /// # Errors
    /// If the device's memory cannot be shared.
    pub fn share(&self) -> Result<[u8; 64], DeviceError> {
        self.context().enter()?;
        let mut handle = CUipcMemHandle { reserved: [0; 64] };
        // SAFETY: the pointer is to a live value, and the allocation lives.
        let result = unsafe { sys::cuIpcGetMemHandle(&raw mut handle, self.address()) };
        self.context().check("cuIpcGetMemHandle", result)?;
        Ok(handle.reserved.map(i8::cast_unsigned))
    }
}
