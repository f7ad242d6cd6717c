//! Marks in a stream.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ptr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUresult};

use super::{Context, DeviceError, probe};

/// An event, kept for whoever needs one next on drop: a stream that waits for it waits for what it
/// marked when the wait was asked for.
#[derive(Debug)]
pub(super) struct Event {
    context: Arc<Context>,
    raw: CUevent,
    is_timed: bool,
}

// SAFETY: an event is a handle, and the driver may be called from any thread with it.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Who waits for it sleeps, and it does not know the time: recording is cheaper so.
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        Self::take(context, false)
    }

    /// One that knows when its stream came to it.
    pub(super) fn timed(context: &Arc<Context>) -> Result<Self, DeviceError> {
        Self::take(context, true)
    }

    fn take(context: &Arc<Context>, is_timed: bool) -> Result<Self, DeviceError> {
        if let Some(raw) = context.spare_events(is_timed).pop() {
            let context = Arc::clone(context);
            return Ok(Self {
                context,
                raw,
                is_timed,
            });
        }
        context.enter()?;
        let mut flags = CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32;
        if !is_timed {
            flags |= CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        }
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, and a context is current.
        let result = unsafe { sys::cuEventCreate(&raw mut raw, flags) };
        context.check("cuEventCreate", result)?;
        Ok(Self {
            context: Arc::clone(context),
            raw,
            is_timed,
        })
    }

    /// How much later the stream of `end` came to it, both being timed and reached; to half a
    /// microsecond or so.
    pub(super) fn time_to(&self, end: &Self) -> Result<Duration, DeviceError> {
        const CALL: &str = "cuEventElapsedTime";
        let function = elapsed_time().ok_or_else(|| DeviceError::Failed {
            device: self.context.device(),
            call: CALL,
            code: "no such function".to_owned(),
        })?;
        let mut milliseconds = 0.0;
        // SAFETY: both events live, and the pointer is to a live number.
        let result = unsafe { function(&raw mut milliseconds, self.raw, end.raw) };
        self.context.check(CALL, result)?;
        let seconds = f64::from(milliseconds) / 1e3;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
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
        self.context.spare_events(self.is_timed).push(self.raw);
    }
}

type ElapsedTime = unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult;

/// The names that drivers give it, the newer first; the bindings know one of them only. Both do the
/// same for events that were recorded once.
pub(super) const ELAPSED_TIME: [&str; 2] = ["cuEventElapsedTime_v2", "cuEventElapsedTime"];

fn elapsed_time() -> Option<ElapsedTime> {
    static FOUND: OnceLock<Option<ElapsedTime>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: both names are functions of that type.
        let find = |name| unsafe { probe::function::<ElapsedTime>(name) };
        ELAPSED_TIME.into_iter().find_map(find)
    })
}
