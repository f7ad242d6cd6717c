//! Events.

use std::ffi::c_uint;

use super::{Out, current, exported, stream::stream};
use crate::{code::Code, counters::Counter, event::Event, state::state, table::Handle};

const WITHOUT_TIMING: c_uint = 2;

/// The event with that handle, on a device that lives.
fn event(handle: Handle) -> Result<std::sync::Arc<Event>, Code> {
    let event = state().events.find(handle)?;
    state().device(event.device)?.check()?;
    Ok(event)
}

exported! {
    fn cuEventCreate(event: Out<Handle>, flags: c_uint) {
        let device = current()?;
        let made = Event::new(device.ordinal, flags & WITHOUT_TIMING == 0);
        device.add(Counter::Events, 1);
        event.set(state().events.insert(made))
    }

    fn cuEventDestroy_v2(event: Handle) {
        let event = state().events.remove(event)?;
        state().device(event.device)?.subtract(Counter::Events, 1);
        Ok(())
    }

    fn cuEventRecord(handle: Handle, queue: Handle) {
        stream(queue)?.record(&event(handle)?)
    }

    fn cuEventQuery(handle: Handle) {
        match event(handle)?.is_reached() {
            true => Ok(()),
            false => Err(Code::NOT_READY),
        }
    }

    fn cuEventSynchronize(handle: Handle) {
        if let Some(mark) = event(handle)?.mark() {
            mark.wait();
        }
        event(handle).map(drop)
    }

    fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) {
        milliseconds.set(event(start)?.milliseconds_to(&*event(end)?)?)
    }

    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Handle, end: Handle) {
        milliseconds.set(event(start)?.milliseconds_to(&*event(end)?)?)
    }
}
