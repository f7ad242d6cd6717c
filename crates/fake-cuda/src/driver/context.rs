//! Primary contexts.

use std::ffi::{c_int, c_uint};

use super::{CURRENT, Out, current, exported, numbered, of_context};
use crate::{code::Code, state::state, stream::GREATEST_PRIORITY, table::Handle};

exported! {
    fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: c_int) {
        let device = numbered(device)?;
        device.retain()?;
        context.set(device.ordinal + 1)
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        numbered(device)?.release()
    }

    fn cuDevicePrimaryCtxGetState(device: c_int, flags: Out<c_uint>, active: Out<c_int>) {
        flags.set(0)?;
        active.set(c_int::from(numbered(device)?.has_context()))
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, _flags: c_uint) {
        numbered(device).map(drop)
    }

    fn cuCtxGetCurrent(context: Out<Handle>) {
        context.set(CURRENT.get())
    }

    fn cuCtxSetCurrent(context: Handle) {
        if context != 0 {
            of_context(context)?;
        }
        CURRENT.set(context);
        Ok(())
    }

    fn cuCtxGetDevice(device: Out<c_int>) {
        device.set(current()?.ordinal as c_int)
    }

    fn cuCtxSynchronize() {
        state().synchronize(current()?.ordinal)
    }

    fn cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) {
        current()?;
        least.set(0)?;
        greatest.set(GREATEST_PRIORITY)
    }

    fn cuCtxEnablePeerAccess(peer: Handle, _flags: c_uint) {
        let (device, peer) = (current()?, of_context(peer)?);
        match device.ordinal == peer.ordinal {
            true => Err(Code::INVALID_DEVICE),
            false => Ok(()),
        }
    }
}
