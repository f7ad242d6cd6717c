//! Finds out when work on a device has ended, and goes on with what comes then: one thread per device.
//! It looks, for a bounded time without a break, and then sleeps a little between looks. The driver's
//! own call-backs take a hundred microseconds, and may not call the driver.

use std::{
    collections::VecDeque,
    hint,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::cuda::{Context, DeviceError, Landed, Pending};

/// How long it sleeps between two looks: about as long as work takes that is worth a sleep.
const NAP: Duration = Duration::from_micros(100);

/// What comes after a piece of work: given what came of it.
type Then = Box<dyn FnOnce(Result<Landed, DeviceError>) + Send>;

/// A device's poller. Dropped, it sees to what it still watches, and ends.
#[derive(Debug)]
pub(super) struct Poller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    arrivals: VecDeque<Watched>,
    closed: bool,
}

struct Watched {
    pending: Pending,
    then: Then,
}

impl Poller {
    pub(super) fn start(context: &Arc<Context>, spin_us: u32) -> Result<Self, DeviceError> {
        let shared = Arc::<Shared>::default();
        let watching = Watching {
            context: Arc::clone(context),
            shared: Arc::clone(&shared),
            spin: Duration::from_micros(spin_us.into()),
            watched: VecDeque::new(),
            abandoned: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(format!("poller-{}", context.device()))
            .spawn(move || watching.run())
            .map_err(|error| DeviceError::Failed {
                device: context.device(),
                call: "spawn",
                code: error.to_string(),
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Calls `then`, on the poller's thread, once the work has ended. It should not take long: others
    /// wait.
    pub(super) fn watch(
        &self,
        pending: Pending,
        then: impl FnOnce(Result<Landed, DeviceError>) + Send + 'static,
    ) {
        let then = Box::new(then);
        self.shared
            .state()
            .arrivals
            .push_back(Watched { pending, then });
        self.shared.arrived.notify_one();
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.arrived.notify_one();
        // What came last may hold the last owner of this: a thread cannot wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The thread's own.
struct Watching {
    context: Arc<Context>,
    shared: Arc<Shared>,
    spin: Duration,
    watched: VecDeque<Watched>,
    /// What nobody waits for any more, as the device was lost. It is kept until it has ended: memory that
    /// a device may still write to is not given away.
    abandoned: Vec<Pending>,
}

impl Watching {
    fn run(mut self) {
        let mut since = Instant::now();
        while self.admit() {
            if self.look() {
                since = Instant::now();
            } else if since.elapsed() < self.spin {
                hint::spin_loop();
            } else {
                self.nap();
            }
        }
    }

    /// Takes in what has arrived, and waits for something if nothing is watched. Says whether there
    /// is anything to do.
    fn admit(&mut self) -> bool {
        self.abandoned
            .retain(|pending| matches!(pending.is_done(), Ok(false)));
        let mut state = self.shared.state();
        if self.watched.is_empty() {
            state = self
                .shared
                .arrived
                .wait_while(state, |state| state.arrivals.is_empty() && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.watched.append(&mut state.arrivals);
        !self.watched.is_empty()
    }

    /// Looks at each once, and goes on with those that have ended: on a device that is lost all of them,
    /// for what comes from one is not to be trusted, and it may hang.
    fn look(&mut self) -> bool {
        if let Some(error) = self.context.lost() {
            for Watched { pending, then } in self.watched.drain(..) {
                go_on(then, Err(error.clone()));
                self.abandoned.push(pending);
            }
            return true;
        }
        let mut ended = false;
        for _ in 0..self.watched.len() {
            let Some(watched) = self.watched.pop_front() else {
                break;
            };
            match watched.pending.is_done() {
                Ok(false) => self.watched.push_back(watched),
                Ok(true) | Err(_) => {
                    ended = true;
                    watched.end();
                }
            }
        }
        ended
    }

    /// Sleeps a little, less if something arrives.
    fn nap(&self) {
        let state = self.shared.state();
        if state.arrivals.is_empty() {
            drop(self.shared.arrived.wait_timeout(state, NAP));
        }
    }
}

impl Watched {
    fn end(self) {
        go_on(self.then, self.pending.land());
    }
}

/// Nothing that comes after one piece of work may end the poller of all of them.
fn go_on(then: Then, landed: Result<Landed, DeviceError>) {
    if catch_unwind(AssertUnwindSafe(|| then(landed))).is_err() {
        tracing::error!("what should follow a batch panicked");
    }
}
