//! An engine of a device: does one thing at a time, the most urgent first.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// One engine.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    busy: bool,
    /// Priorities of those who wait; the lowest number is the most urgent.
    waiting: Vec<i32>,
}

impl Engine {
    /// Does `work` once the engine is free and nothing more urgent waits. It takes `least` at least.
    /// Says how long it took.
    pub(crate) fn run<R>(
        &self,
        priority: i32,
        least: Duration,
        work: impl FnOnce() -> R,
    ) -> (R, Duration) {
        self.enter(priority);
        let start = Instant::now();
        let result = work();
        thread::sleep(least.saturating_sub(start.elapsed()));
        let took = start.elapsed();
        self.leave();
        (result, took)
    }

    fn enter(&self, priority: i32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(priority);
        let mut state = self
            .changed
            .wait_while(state, |state| {
                state.busy || state.waiting.iter().any(|&other| other < priority)
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.busy = true;
        if let Some(at) = state.waiting.iter().position(|&other| other == priority) {
            state.waiting.swap_remove(at);
        }
    }

    fn leave(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy = false;
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn the_most_urgent_goes_first() {
        let engine = Arc::new(Engine::default());
        engine.enter(0);
        let (sender, receiver) = mpsc::channel();
        for priority in [0, -5, -1] {
            let (engine, sender) = (Arc::clone(&engine), sender.clone());
            thread::spawn(move || {
                engine.run(priority, Duration::ZERO, || sender.send(priority).unwrap())
            });
        }
        while engine.state.lock().unwrap().waiting.len() < 3 {
            thread::yield_now();
        }
        engine.leave();
        let order: Vec<_> = (0..3).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!(order, [-5, -1, 0]);
    }
}
