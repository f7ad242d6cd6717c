//! Streams: what is given to one happens in order, what is given to two happens at once.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ffi::c_void, ptr, sync::Arc};

use cudarc::driver::sys::{self, CUevent_wait_flags, CUstream, CUstream_flags};

use super::{Context, DeviceError, event::Event};

/// How urgent a stream's work is against that of other streams of its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As urgent as the device knows.
    High,
    /// Not more urgent than anything.
    #[default]
    Normal,
}

/// A stream, destroyed on drop; what it was given is still done.
#[derive(Debug)]
pub struct Stream {
    context: Arc<Context>,
    raw: CUstream,
}

// SAFETY: a stream is a handle, and the driver may be called from any thread with it.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream that waits for no other, the default stream included.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn new(context: &Arc<Context>, priority: Priority) -> Result<Arc<Self>, DeviceError> {
        context.enter()?;
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: the pointers are to live integers, and a context is current.
        let result = unsafe { sys::cuCtxGetStreamPriorityRange(&raw mut least, &raw mut greatest) };
        context.check("cuCtxGetStreamPriorityRange", result)?;
        let level = match priority {
            Priority::High => greatest,
            Priority::Normal => least,
        };
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, and a context is current.
        let result = unsafe { sys::cuStreamCreateWithPriority(&raw mut raw, flags, level) };
        context.check("cuStreamCreateWithPriority", result)?;
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            raw,
        }))
    }

    /// The context that it belongs to.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Waits until everything is done that it was given.
    ///
    /// # Errors
    /// If any of it lost the device.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream lives.
        let result = unsafe { sys::cuStreamSynchronize(self.raw) };
        self.context.check("cuStreamSynchronize", result)
    }

    /// Puts a mark into it.
    pub(super) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: stream and event live.
        let result = unsafe { sys::cuEventRecord(event.raw(), self.raw) };
        self.context.check("cuEventRecord", result)
    }

    /// What it is given from now on waits until the other stream has come to that mark.
    pub(super) fn wait(&self, event: &Event) -> Result<(), DeviceError> {
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT as u32;
        // SAFETY: stream and event live.
        let result = unsafe { sys::cuStreamWaitEvent(self.raw, event.raw(), flags) };
        self.context.check("cuStreamWaitEvent", result)
    }

    /// The driver's handle, as engines are told.
    pub fn pointer(&self) -> *mut c_void {
        self.raw.cast()
    }

    pub(super) fn raw(&self) -> CUstream {
        self.raw
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is ours; the driver does what it holds and then frees it.
        unsafe { sys::cuStreamDestroy_v2(self.raw) };
    }
}
