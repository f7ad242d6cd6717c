//! Streams.

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::Arc,
};

use super::{Out, current, exported};
use crate::{
    code::Code,
    counters::Counter,
    device::Device,
    operation::{Callback, Operation},
    state::{default_stream, state},
    stream::Stream,
    table::Handle,
};

/// Handles that mean the default stream: none, the legacy one, the thread's own.
const DEFAULT: std::ops::RangeInclusive<Handle> = 0..=2;

/// The stream with that handle, to be given something: its context must be current.
pub(super) fn given(handle: Handle) -> Result<Arc<Stream>, Code> {
    let (stream, device) = (stream(handle)?, current()?);
    match stream.device == device.ordinal {
        true => Ok(stream),
        false => Err(Code::INVALID_HANDLE),
    }
}

/// The stream with that handle.
pub(super) fn stream(handle: Handle) -> Result<Arc<Stream>, Code> {
    match DEFAULT.contains(&handle) {
        true => Ok(Arc::clone(default_stream(current()?))),
        false => state().streams.find(handle),
    }
}

fn create(device: &Device, priority: c_int) -> Result<Handle, Code> {
    let handle = state()
        .streams
        .insert(Stream::new(device.ordinal, priority));
    state().streams.find(handle)?.set_handle(handle);
    device.add(Counter::Streams, 1);
    Ok(handle)
}

exported! {
    fn cuStreamCreate(queue: Out<Handle>, _flags: c_uint) {
        queue.set(create(current()?, 0)?)
    }

    fn cuStreamCreateWithPriority(queue: Out<Handle>, _flags: c_uint, priority: c_int) {
        queue.set(create(current()?, priority)?)
    }

    fn cuStreamGetPriority(queue: Handle, priority: Out<c_int>) {
        priority.set(stream(queue)?.priority)
    }

    fn cuStreamDestroy_v2(queue: Handle) {
        let stream = state().streams.remove(queue)?;
        state().device(stream.device)?.subtract(Counter::Streams, 1);
        Ok(())
    }

    fn cuStreamSynchronize(queue: Handle) {
        stream(queue)?.synchronize()
    }

    fn cuStreamQuery(queue: Handle) {
        match stream(queue)?.is_idle()? {
            true => Ok(()),
            false => Err(Code::NOT_READY),
        }
    }

    fn cuStreamWaitEvent(queue: Handle, event: Handle, _flags: c_uint) {
        stream(queue)?.wait(&state().events.find(event)?)
    }

    fn cuLaunchHostFunc(
        queue: Handle,
        function: Option<unsafe extern "C" fn(*mut c_void)>,
        argument: *mut c_void,
    ) {
        given(queue)?.push(Operation::Call(Callback {
            function: function.ok_or(Code::INVALID_VALUE)?,
            argument: argument as usize,
        }))
    }

    fn cuStreamBeginCapture_v2(queue: Handle, _mode: c_uint) {
        state().streams.find(queue)?.begin_capture()
    }

    fn cuStreamIsCapturing(queue: Handle, status: Out<c_uint>) {
        status.set(c_uint::from(stream(queue)?.is_capturing()))
    }

    fn cuStreamEndCapture(queue: Handle, graph: Out<Handle>) {
        let stream = state().streams.find(queue)?;
        let captured = stream.end_capture()?;
        state().device(stream.device)?.add(Counter::Graphs, 1);
        graph.set(state().graphs.insert(captured))
    }
}
