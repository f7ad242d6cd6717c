//! Marks in a stream.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ptr, sync::Arc};

use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUresult};

use super::{Context, DeviceError};

/// An event, kept for whoever needs one next on drop: a stream that waits for it waits for what it
/// marked when the wait was asked for.
#[derive(Debug)]
pub(super) struct Event {
    context: Arc<Context>,
    raw: CUevent,
}

// SAFETY: an event is a handle, and the driver may be called from any thread with it.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Who waits for it sleeps, and it takes no time: recording is cheaper so.
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        if let Some(raw) = context.spare_events().pop() {
            let context = Arc::clone(context);
            return Ok(Self { context, raw });
        }
        context.enter()?;
        let flags = CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32
            | CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, and a context is current.
        let result = unsafe { sys::cuEventCreate(&raw mut raw, flags) };
        context.check("cuEventCreate", result)?;
        Ok(Self {
            context: Arc::clone(context),
            raw,
        })
    }

    pub(super) fn raw(&self) -> CUevent {
        self.raw
    }

    /// Whether the stream has come to it.
    pub(super) fn is_reached(&self) -> Result<bool, DeviceError> {
        // SAFETY: the event lives.
        match unsafe { sys::cuEventQuery(self.raw) } {
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            result => self.context.check("cuEventQuery", result).map(|()| true),
        }
    }

    /// Sleeps until the stream has come to it.
    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the event lives.
        let result = unsafe { sys::cuEventSynchronize(self.raw) };
        self.context.check("cuEventSynchronize", result)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.context.spare_events().push(self.raw);
    }
}
