//! Handles: numbers that stand for values, so that a stale one is noticed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::code::Code;

/// What C calls a pointer to an opaque struct.
pub(crate) type Handle = usize;

/// Handles are never used twice, and differ between tables; so one that is mistaken for another is
/// noticed too.
static NEXT: AtomicUsize = AtomicUsize::new(0x1000);

/// Values by handle.
#[derive(Debug)]
pub(crate) struct Table<T>(Mutex<HashMap<Handle, Arc<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&self, value: T) -> Handle {
        let handle = NEXT.fetch_add(0x10, Ordering::Relaxed);
        self.locked(|values| values.insert(handle, Arc::new(value)));
        handle
    }

    pub(crate) fn find(&self, handle: Handle) -> Result<Arc<T>, Code> {
        self.locked(|values| values.get(&handle).cloned())
            .ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn remove(&self, handle: Handle) -> Result<Arc<T>, Code> {
        self.locked(|values| values.remove(&handle))
            .ok_or(Code::INVALID_HANDLE)
    }

    /// Forgets those that are not to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&T) -> bool) {
        self.locked(|values| values.retain(|_, value| keep(value)));
    }

    pub(crate) fn values(&self) -> Vec<Arc<T>> {
        self.locked(|values| values.values().cloned().collect())
    }

    fn locked<R>(&self, act: impl FnOnce(&mut HashMap<Handle, Arc<T>>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
