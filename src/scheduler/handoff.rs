//! The hand-off between those who bring work and those who wait for it: a mutex, a condition
//! variable, and the rule that nobody sleeps while there is work that could run. Checked by loom.

use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// What a waiter decided under the lock.
#[derive(Debug)]
pub enum Next<T> {
    /// It takes this and goes.
    Take(T),
    /// Nothing to take; wake it when something is pushed.
    Wait,
    /// Nothing to take yet; wake it when something is pushed, or after this long.
    WaitFor(Duration),
}

/// A queue of any kind with waiters.
#[derive(Debug)]
pub struct Handoff<Q> {
    state: Mutex<State<Q>>,
    wake: Condvar,
}

#[derive(Debug)]
struct State<Q> {
    queue: Q,
    /// Waiters asleep. Nobody is notified, at the cost of a system call, when there are none.
    idle: usize,
    closed: bool,
}

impl<Q> Handoff<Q> {
    /// A hand-off around `queue`.
    pub fn new(queue: Q) -> Self {
        Self {
            state: Mutex::new(State {
                queue,
                idle: 0,
                closed: false,
            }),
            wake: Condvar::new(),
        }
    }

    /// Lets `add` put `item` into the queue and wakes a waiter.
    ///
    /// # Errors
    /// The item, once closed.
    pub fn push<T, R>(&self, item: T, add: impl FnOnce(&mut Q, T) -> R) -> Result<R, T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        let result = add(&mut state.queue, item);
        let notify = state.idle > 0;
        drop(state);
        if notify {
            self.wake.notify_one();
        }
        Ok(result)
    }

    /// Asks `decide` what to take, and waits as it says. `decide` is told whether the queue is
    /// closed. `None` once the queue is closed and `decide` would wait.
    pub fn take<T>(&self, mut decide: impl FnMut(&mut Q, bool) -> Next<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            let closed = state.closed;
            match decide(&mut state.queue, closed) {
                Next::Take(item) => {
                    let notify = state.idle > 0;
                    drop(state);
                    if notify {
                        // There may be more than was taken: pass the wake-up on.
                        self.wake.notify_one();
                    }
                    return Some(item);
                }
                Next::Wait | Next::WaitFor(_) if closed => return None,
                Next::Wait => {
                    state.idle += 1;
                    state = ignore_poison(self.wake.wait(state));
                    state.idle -= 1;
                }
                Next::WaitFor(duration) => {
                    state.idle += 1;
                    state = match self.wake.wait_timeout(state, duration) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                    state.idle -= 1;
                }
            }
        }
    }

    /// Lets `change` look at the queue and take things out of it. Nobody is woken: who waits is not
    /// helped by less work.
    pub fn with<R>(&self, change: impl FnOnce(&mut Q) -> R) -> R {
        change(&mut self.lock().queue)
    }

    /// Refuses further pushes; waiters take what is left and then end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        ignore_poison(self.state.lock())
    }
}

/// A panic under the lock cannot leave a queue half changed in a way that matters more than
/// stopping every other request would.
fn ignore_poison<T>(result: Result<T, std::sync::PoisonError<T>>) -> T {
    result.unwrap_or_else(std::sync::PoisonError::into_inner)
}
