//! The instances that serve one queue, and which of them still can: one whose device is lost leaves
//! the work to the others, and only if there are none does it answer itself, with the reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::OpenDevice;

/// The instances of one queue.
#[derive(Debug, Default)]
pub struct Peers {
    /// The device of each, `None` for the host.
    devices: Mutex<Vec<Option<Arc<OpenDevice>>>>,
}

impl Peers {
    pub(super) fn join(&self, device: Option<Arc<OpenDevice>>) {
        self.devices().push(device);
    }

    /// Whether any of them can run a batch. Without instances there is none that cannot.
    pub fn any_able(&self) -> bool {
        let devices = self.devices();
        let is_able = |device: &OpenDevice| device.lost().is_none();
        devices.is_empty()
            || devices
                .iter()
                .any(|device| device.as_deref().is_none_or(is_able))
    }

    fn devices(&self) -> MutexGuard<'_, Vec<Option<Arc<OpenDevice>>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
