//! The hand-off between those who bring work and those who wait for it: a mutex, a condition
//! variable, and the rule that nobody sleeps while there is work that could run. A waiter may leave
//! its seat here while it sleeps; who brings work can borrow it and do the work at once. Checked by
//! loom.

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

/// A queue of any kind with waiters, and the seats `S` that sleeping waiters left.
#[derive(Debug)]
pub struct Handoff<Q, S = ()> {
    state: Mutex<State<Q, S>>,
    wake: Condvar,
}

#[derive(Debug)]
struct State<Q, S> {
    queue: Q,
    /// Waiters asleep.
    idle: usize,
    closed: bool,
    /// Of waiters that are asleep, or woken and not back yet.
    seats: Vec<S>,
    /// Seats that are lent: so many of the waiters cannot take anything now.
    lent: usize,
    /// Something may be left that nobody could take while a seat was lent.
    missed: bool,
}

impl<Q, S> State<Q, S> {
    /// Whether a waiter sleeps that could take something. Nobody is notified, at the cost of a
    /// system call, if there is none.
    fn has_idle(&self) -> bool {
        self.idle > self.lent
    }
}

/// A seat on loan. It goes back when this is dropped.
#[derive(Debug)]
pub struct Lent<'a, Q, S> {
    handoff: &'a Handoff<Q, S>,
    seat: Option<S>,
}

impl<Q, S> Handoff<Q, S> {
    /// A hand-off around `queue`.
    pub fn new(queue: Q) -> Self {
        Self {
            state: Mutex::new(State {
                queue,
                idle: 0,
                closed: false,
                seats: Vec::new(),
                lent: 0,
                missed: false,
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
        state.missed |= state.lent > 0;
        let notify = state.has_idle();
        drop(state);
        if notify {
            self.wake.notify_one();
        }
        Ok(result)
    }

    /// Lends the seat of a sleeping waiter, if `agrees` to it. Not once closed.
    pub fn lend(&self, agrees: impl FnOnce(&Q, &S) -> bool) -> Option<Lent<'_, Q, S>> {
        let mut state = self.lock();
        if state.closed || !agrees(&state.queue, state.seats.last()?) {
            return None;
        }
        let seat = state.seats.pop();
        state.lent += 1;
        Some(Lent {
            handoff: self,
            seat,
        })
    }

    /// Asks `decide` what to take, and waits as it says; while it waits, others may borrow `seat`.
    /// `decide` is told whether the queue is closed. Returns what was taken and a seat, which may
    /// be another waiter's; `None` once the queue is closed and `decide` would wait.
    pub fn take<T>(&self, seat: S, decide: impl FnMut(&mut Q, bool) -> Next<T>) -> Option<(T, S)> {
        self.take_at(seat, true, decide)
    }

    /// As [`Handoff::take`], but nobody borrows the seat, and it is what comes back.
    pub fn take_staying<T>(
        &self,
        seat: S,
        decide: impl FnMut(&mut Q, bool) -> Next<T>,
    ) -> Option<(T, S)> {
        self.take_at(seat, false, decide)
    }

    fn take_at<T>(
        &self,
        seat: S,
        leaves: bool,
        mut decide: impl FnMut(&mut Q, bool) -> Next<T>,
    ) -> Option<(T, S)> {
        let mut own = Some(seat);
        let mut state = self.lock();
        loop {
            let Some(seat) = own.take().or_else(|| state.seats.pop()) else {
                // It is lent. Who gives it back wakes a waiter; another may have one.
                state.missed = true;
                if state.has_idle() {
                    self.wake.notify_one();
                }
                state = self.sleep(state, None);
                continue;
            };
            let closed = state.closed;
            let duration = match decide(&mut state.queue, closed) {
                Next::Take(item) => {
                    let notify = state.has_idle();
                    drop(state);
                    if notify {
                        // There may be more than was taken: pass the wake-up on.
                        self.wake.notify_one();
                    }
                    return Some((item, seat));
                }
                Next::Wait | Next::WaitFor(_) if closed => return None,
                Next::Wait => None,
                Next::WaitFor(duration) => Some(duration),
            };
            match leaves {
                true => state.seats.push(seat),
                false => own = Some(seat),
            }
            state = self.sleep(state, duration);
        }
    }

    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State<Q, S>>,
        duration: Option<Duration>,
    ) -> MutexGuard<'a, State<Q, S>> {
        state.idle += 1;
        state = match duration {
            None => ignore_poison(self.wake.wait(state)),
            Some(duration) => match self.wake.wait_timeout(state, duration) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            },
        };
        state.idle -= 1;
        state
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

    fn lock(&self) -> MutexGuard<'_, State<Q, S>> {
        ignore_poison(self.state.lock())
    }
}

impl<Q, S> Lent<'_, Q, S> {
    /// What is on loan.
    pub fn seat(&mut self) -> Option<&mut S> {
        self.seat.as_mut()
    }
}

impl<Q, S> Drop for Lent<'_, Q, S> {
    fn drop(&mut self) {
        let mut state = self.handoff.lock();
        state.lent -= 1;
        state.seats.extend(self.seat.take());
        let notify = std::mem::take(&mut state.missed) || state.closed;
        let notify = notify && state.has_idle();
        drop(state);
        if notify {
            self.handoff.wake.notify_one();
        }
    }
}

/// A panic under the lock cannot leave a queue half changed in a way that matters more than
/// stopping every other request would.
fn ignore_poison<T>(result: Result<T, std::sync::PoisonError<T>>) -> T {
    result.unwrap_or_else(std::sync::PoisonError::into_inner)
}
