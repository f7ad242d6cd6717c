//! The clock of the queues: one thread wakes schedulers when a request of theirs has waited as long
//! as it may, for no instance may be free to notice. What is due is decided in [`Agenda`], without
//! a clock; it knows nothing of requests.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::Instant,
};

use super::Scheduler;

/// A handle to the thread, shared by all schedulers. The thread ends with the last handle.
#[derive(Clone, Default)]
pub struct Timer(Arc<Handle>);

impl Timer {
    /// Starts the thread, unless it runs already. Until then nobody is woken.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(&self) -> io::Result<()> {
        let mut state = self.0.shared.lock();
        if state.thread.is_none() {
            let shared = Arc::clone(&self.0.shared);
            let thread = thread::Builder::new()
                .name("queue-timer".to_owned())
                .spawn(move || shared.run())?;
            state.thread = Some(thread);
        }
        Ok(())
    }
}

/// By what one scheduler has itself woken. Dropped with the scheduler, it leaves nothing behind.
pub(super) struct Alarm {
    timer: Timer,
    scheduler: Weak<Scheduler>,
}

impl Alarm {
    pub(super) fn new(timer: &Timer, scheduler: &Weak<Scheduler>) -> Self {
        Self {
            timer: timer.clone(),
            scheduler: Weak::clone(scheduler),
        }
    }

    /// Has [`Scheduler::expire`] called at that instant, or before if that was asked for already.
    pub(super) fn set(&self, at: Instant) {
        let shared = &self.timer.0.shared;
        let mut state = shared.lock();
        let is_next = state.agenda.set(self.key(), at, &self.scheduler);
        drop(state);
        if is_next {
            shared.changed.notify_one();
        }
    }

    /// The scheduler's address: no other has it while a `Weak` exists.
    fn key(&self) -> usize {
        self.scheduler.as_ptr().addr()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timer.0.shared.lock().agenda.forget(self.key());
    }
}

/// What all [`Timer`]s share and the thread does not: with it the thread ends.
#[derive(Default)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        let thread = state.thread.take();
        drop(state);
        self.shared.changed.notify_one();
        // The thread itself may have held the last scheduler, and that the last handle.
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something else is due next, or the thread is to end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    agenda: Agenda<Weak<Scheduler>>,
    thread: Option<JoinHandle<()>>,
    ended: bool,
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            if let Some(scheduler) = state.agenda.pop_due(now) {
                // Without the lock: it sets its alarm again, and may be dropped here.
                drop(state);
                if let Some(scheduler) = scheduler.upgrade() {
                    scheduler.expire(now);
                }
                state = self.lock();
                continue;
            }
            state = match state.agenda.next() {
                Some(at) => self
                    .changed
                    .wait_timeout(state, at.saturating_duration_since(now))
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state),
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to be woken when: one entry for each who asked, however often.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: HashMap<usize, (Instant, T)>,
    /// The same, by time.
    due: BTreeSet<(Instant, usize)>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            due: BTreeSet::new(),
        }
    }
}

impl<T> Agenda<T> {
    /// The instant of the next entry.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes out the earliest entry if it is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        self.entries.remove(&key).map(|(_, who)| who)
    }

    /// Takes the entry out, if there is one.
    pub(super) fn forget(&mut self, key: usize) {
        if let Some((at, _)) = self.entries.remove(&key) {
            self.due.remove(&(at, key));
        }
    }
}

impl<T: Clone> Agenda<T> {
    /// Enters `who` under `key`, or moves its entry if that makes it earlier: of two who ask at once
    /// the later one must not undo what the earlier one needs. Whether it is what is next now.
    pub(super) fn set(&mut self, key: usize, at: Instant, who: &T) -> bool {
        match self.entries.get_mut(&key) {
            Some((set, _)) if *set <= at => return false,
            Some((set, _)) => {
                self.due.remove(&(*set, key));
                *set = at;
            }
            None => {
                self.entries.insert(key, (at, who.clone()));
            }
        }
        self.due.insert((at, key));
        self.due.first() == Some(&(at, key))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        inference::Infer,
        scheduler::tests::{own_timeouts, request},
    };

    #[test]
    fn the_thread_ends_with_the_last_handle() {
        let timer = Timer::default();
        timer.start().unwrap();
        timer.start().unwrap();
        // The thread has a share in it, too.
        let shared = Arc::downgrade(&timer.0.shared);
        let scheduler = own_timeouts(&timer);
        let (mut request, _receiver) = request(1);
        request.timeout = Some(Duration::from_hours(1));
        scheduler.submit(request).unwrap();
        drop(timer);
        assert!(shared.upgrade().is_some(), "the scheduler has a handle");
        scheduler.close();
        drop(scheduler);
        assert!(shared.upgrade().is_none(), "the thread was joined");
    }

    #[test]
    fn a_scheduler_that_is_gone_leaves_no_entry() {
        let timer = Timer::default();
        let scheduler = own_timeouts(&timer);
        let (mut request, _receiver) = request(1);
        request.timeout = Some(Duration::from_hours(1));
        scheduler.submit(request).unwrap();
        assert!(timer.0.shared.lock().agenda.next().is_some());
        drop(scheduler);
        assert!(timer.0.shared.lock().agenda.next().is_none());
    }
}
