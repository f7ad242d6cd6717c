//! In-flight guards: who holds a lease keeps the model alive; who unloads the model waits for the
//! leases that were given out, and no new one is given after it has begun.

use crate::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering};

/// Set once no more leases are given out.
const CLOSED: usize = 1;
/// One lease.
const ONE: usize = 2;

/// Counts the leases of one thing.
#[derive(Debug)]
pub struct Leases {
    /// `CLOSED` bit, and the number of leases times `ONE`.
    state: AtomicUsize,
    drained: Mutex<bool>,
    wake: Condvar,
}

/// One lease; dropping it gives it back.
#[derive(Debug)]
pub struct LeaseGuard(Arc<Leases>);

impl Default for Leases {
    fn default() -> Self {
        Self {
            state: AtomicUsize::new(0),
            drained: Mutex::new(false),
            wake: Condvar::new(),
        }
    }
}

impl Leases {
    /// Takes a lease; `None` once closed.
    pub fn acquire(self: &Arc<Self>) -> Option<LeaseGuard> {
        let before = self.state.fetch_add(ONE, Ordering::AcqRel);
        let guard = LeaseGuard(Arc::clone(self));
        // A refused lease is given back by the guard's own drop, like any other.
        (before & CLOSED == 0).then_some(guard)
    }

    /// Gives out no more leases.
    pub fn close(&self) {
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before & CLOSED == 0 && before == 0 {
            self.announce();
        }
    }

    /// Leases out now.
    pub fn count(&self) -> usize {
        self.state.load(Ordering::Acquire) / ONE
    }

    /// Waits until every lease is back. To be called after [`Leases::close`].
    pub fn wait_drained(&self) {
        let mut drained = lock(&self.drained);
        while !*drained {
            drained = match self.wake.wait(drained) {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }

    fn announce(&self) {
        *lock(&self.drained) = true;
        self.wake.notify_all();
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let before = self.0.state.fetch_sub(ONE, Ordering::AcqRel);
        if before == ONE + CLOSED {
            self.0.announce();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> crate::sync::MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
