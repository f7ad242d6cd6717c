//! Sets of events; the fake has Xid events only.

use std::{
    collections::BTreeSet,
    ffi::{c_uint, c_ulonglong},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{INVALID_ARGUMENT, device};
use crate::{
    code::Code,
    driver::{Out, exported},
    state::state,
    table::{Handle, Table},
};

const XID: c_ulonglong = 8;
const TIMEOUT: Code = Code(10);
/// How often a set of several devices looks at each.
const ROUND: Duration = Duration::from_millis(2);

/// `nvmlEventData_t`.
#[repr(C)]
pub struct EventData {
    device: Handle,
    kind: c_ulonglong,
    data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// Ordinals of the devices whose events are asked for.
type Set = Mutex<BTreeSet<usize>>;

fn sets() -> &'static Table<Set> {
    static SETS: OnceLock<Table<Set>> = OnceLock::new();
    SETS.get_or_init(Table::default)
}

fn set(handle: Handle) -> Result<Arc<Set>, Code> {
    sets().find(handle).map_err(|_| INVALID_ARGUMENT)
}

exported! {
    fn nvmlEventSetCreate(handle: Out<Handle>) {
        handle.set(sets().insert(Set::default()))
    }

    fn nvmlEventSetFree(handle: Handle) {
        sets().remove(handle).map(drop).map_err(|_| INVALID_ARGUMENT)
    }

    fn nvmlDeviceGetSupportedEventTypes(handle: Handle, kinds: Out<c_ulonglong>) {
        device(handle)?;
        kinds.set(if state().settings.tells_events { XID } else { 0 })
    }

    fn nvmlDeviceRegisterEvents(handle: Handle, kinds: c_ulonglong, events: Handle) {
        let ordinal = device(handle)?.ordinal;
        if kinds & XID != 0 {
            let set = set(events)?;
            set.lock().unwrap_or_else(PoisonError::into_inner).insert(ordinal);
        }
        Ok(())
    }

    fn nvmlEventSetWait_v2(events: Handle, data: Out<EventData>, milliseconds: c_uint) {
        let set = set(events)?;
        let ordinals = set.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (ordinal, xid) = wait(&ordinals, Duration::from_millis(milliseconds.into()))
            .ok_or(TIMEOUT)?;
        data.set(EventData {
            device: ordinal + 1,
            kind: XID,
            data: xid,
            gpu_instance: c_uint::MAX,
            compute_instance: c_uint::MAX,
        })
    }
}

fn wait(ordinals: &BTreeSet<usize>, patience: Duration) -> Option<(usize, u64)> {
    let start = Instant::now();
    loop {
        for &ordinal in ordinals {
            let device = state().device(ordinal).ok()?;
            if let Some(xid) = device.next_xid() {
                return Some((ordinal, xid));
            }
        }
        let left = patience.checked_sub(start.elapsed())?;
        std::thread::sleep(left.min(ROUND));
    }
}
