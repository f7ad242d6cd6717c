//! Events: marks in streams that can be waited for.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{code::Code, graph::Capture, table::Handle};

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) device: usize,
    has_timing: bool,
    state: Mutex<State>,
    reached: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How often it was recorded.
    recorded: u64,
    /// The last recording that its stream has reached.
    completed: u64,
    at: Option<Instant>,
    /// The capture in which it was recorded last, if it was in one, and the stream.
    capture: Option<(Arc<Capture>, Handle)>,
}

impl Event {
    pub(crate) fn new(device: usize, has_timing: bool) -> Self {
        Self {
            device,
            has_timing,
            state: Mutex::default(),
            reached: Condvar::new(),
        }
    }

    /// A recording is put into a stream; says which it is.
    pub(crate) fn record(&self) -> u64 {
        let mut state = self.state();
        state.capture = None;
        state.recorded += 1;
        state.recorded
    }

    /// It is recorded in a stream that is being captured: nothing happens until a graph is launched.
    pub(crate) fn record_in(&self, capture: Arc<Capture>, stream: Handle) {
        self.state().capture = Some((capture, stream));
    }

    pub(crate) fn capture(&self) -> Option<(Arc<Capture>, Handle)> {
        self.state().capture.clone()
    }

    /// The recording that who waits now waits for.
    pub(crate) fn last_recording(&self) -> u64 {
        self.state().recorded
    }

    /// Its stream has come to that recording.
    pub(crate) fn reach(&self, recording: u64) {
        let mut state = self.state();
        state.completed = state.completed.max(recording);
        state.at = Some(Instant::now());
        drop(state);
        self.reached.notify_all();
    }

    pub(crate) fn wait(&self, recording: u64) {
        drop(
            self.reached
                .wait_while(self.state(), |state| state.completed < recording)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(crate) fn is_reached(&self) -> bool {
        let state = self.state();
        state.completed >= state.recorded
    }

    /// Milliseconds from `self` to `end`.
    pub(crate) fn milliseconds_to(&self, end: &Self) -> Result<f32, Code> {
        let (Some(start_at), Some(end_at)) = (self.time()?, end.time()?) else {
            return Err(Code::INVALID_HANDLE);
        };
        let after = end_at.saturating_duration_since(start_at);
        let before = start_at.saturating_duration_since(end_at);
        Ok((after.as_secs_f32() - before.as_secs_f32()) * 1e3)
    }

    fn time(&self) -> Result<Option<Instant>, Code> {
        let state = self.state();
        match (self.has_timing, state.completed >= state.recorded) {
            (false, _) => Err(Code::INVALID_HANDLE),
            (true, false) => Err(Code::NOT_READY),
            (true, true) => Ok(state.at),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
