//! A device's primary context: held while somebody uses the device.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ptr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use cudarc::driver::sys::{self, CUcontext, CUctx_flags, CUdevice, CUevent, CUresult};

use super::{DeviceError, error, probe};
use crate::device::Device;

/// The primary context of one device, released when the last owner drops it.
#[derive(Debug)]
pub struct Context {
    ordinal: u32,
    device: CUdevice,
    raw: CUcontext,
    lost: OnceLock<DeviceError>,
    /// Events that nobody uses at the moment, those that know the time apart: making one costs more
    /// than using one.
    spare_events: [Mutex<Vec<CUevent>>; 2],
}

// SAFETY: a context is a handle, and the driver may be called from any thread with it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Takes part in the device's primary context, which is made if nobody did before: that takes
    /// a good part of a second and some hundred MiB of the device's memory.
    ///
    /// # Errors
    /// If the device is not there, or no context can be made on it.
    pub fn open(ordinal: u32) -> Result<Arc<Self>, DeviceError> {
        let named = Device::Cuda(ordinal);
        let device = probe::device(ordinal).map_err(|code| DeviceError::Failed {
            device: named,
            call: "cuDeviceGet",
            code,
        })?;
        // Who waits sleeps. It is advice, which an open context does not take: no error.
        let sleeping = CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC as u32;
        // SAFETY: the device is one of the driver's.
        unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(device, sleeping) };
        let mut raw = ptr::null_mut();
        // SAFETY: the device is one of the driver's, and the pointer is to a live pointer.
        let result = unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut raw, device) };
        judge(named, "cuDevicePrimaryCtxRetain", result)?;
        Ok(Arc::new(Self {
            ordinal,
            device,
            raw,
            lost: OnceLock::new(),
            spare_events: Default::default(),
        }))
    }

    /// The device.
    pub fn device(&self) -> Device {
        Device::Cuda(self.ordinal)
    }

    /// The device, as the driver counts them.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// The error after which the device can no longer be used, if there was one.
    pub fn lost(&self) -> Option<&DeviceError> {
        self.lost.get()
    }

    /// From now on the device is not to be used any more, unless it was lost before.
    pub(in crate::device) fn give_up(&self, error: DeviceError) {
        let _ = self.lost.set(error);
    }

    /// Bytes of the device's memory that are free, and all of them.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn memory(&self) -> Result<(usize, usize), DeviceError> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the pointers are to live integers.
        let result = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        self.check("cuMemGetInfo", result)?;
        Ok((free, total))
    }

    /// Makes this the context of the calling thread. Calls that say which stream or memory they
    /// mean need none; those that make something do.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained while `self` lives.
        let result = unsafe { sys::cuCtxSetCurrent(self.raw) };
        self.check("cuCtxSetCurrent", result)
    }

    /// Takes note of an error that is for good.
    pub(super) fn check(&self, call: &'static str, result: CUresult) -> Result<(), DeviceError> {
        judge(self.device(), call, result).inspect_err(|error| {
            if matches!(error, DeviceError::Lost { .. }) {
                let _ = self.lost.set(error.clone());
            }
        })
    }

    pub(super) fn raw(&self) -> CUcontext {
        self.raw
    }

    pub(super) fn spare_events(&self, are_timed: bool) -> MutexGuard<'_, Vec<CUevent>> {
        let [untimed, timed] = &self.spare_events;
        let events = if are_timed { timed } else { untimed };
        events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        for are_timed in [false, true] {
            for event in self.spare_events(are_timed).drain(..) {
                // SAFETY: the event is this context's, and nobody has it.
                unsafe { sys::cuEventDestroy_v2(event) };
            }
        }
        // SAFETY: it was retained once for this value.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

fn judge(device: Device, call: &'static str, result: CUresult) -> Result<(), DeviceError> {
    error::succeed(result).map_err(|code| {
        if error::is_sticky(result) {
            DeviceError::Lost { device, call, code }
        } else {
            DeviceError::Failed { device, call, code }
        }
    })
}
