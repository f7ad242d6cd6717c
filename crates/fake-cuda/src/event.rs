//! Events: marks in streams that can be waited for. What is waited for is the mark that was put last
//! when the wait was asked for; a mark that the same event puts later, in whatever stream, is another.

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
}

#[derive(Debug, Default)]
struct State {
    /// Put last.
    mark: Option<Arc<Mark>>,
    /// The capture in which it was recorded last, if it was in one, and the stream.
    capture: Option<(Arc<Capture>, Handle)>,
}

/// One place in one stream.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// When the stream came to it.
    reached: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Event {
    pub(crate) fn new(device: usize, has_timing: bool) -> Self {
        Self {
            device,
            has_timing,
            state: Mutex::default(),
        }
    }

    /// A new mark, to be put into a stream.
    pub(crate) fn record(&self) -> Arc<Mark> {
        let mark = Arc::<Mark>::default();
        *self.state() = State {
            mark: Some(Arc::clone(&mark)),
            capture: None,
        };
        mark
    }

    /// It is recorded in a stream that is being captured: nothing happens until a graph is launched.
    pub(crate) fn record_in(&self, capture: Arc<Capture>, stream: Handle) {
        self.state().capture = Some((capture, stream));
    }

    pub(crate) fn capture(&self) -> Option<(Arc<Capture>, Handle)> {
        self.state().capture.clone()
    }

    /// What who waits now waits for; nothing if the event was never recorded.
    pub(crate) fn mark(&self) -> Option<Arc<Mark>> {
        self.state().mark.clone()
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.mark().is_none_or(|mark| mark.time().is_some())
    }

    /// Milliseconds from `self` to `end`.
    pub(crate) fn milliseconds_to(&self, end: &Self) -> Result<f32, Code> {
        let (start, end) = (self.time()?, end.time()?);
        let after = end.saturating_duration_since(start);
        let before = start.saturating_duration_since(end);
        Ok((after.as_secs_f32() - before.as_secs_f32()) * 1e3)
    }

    fn time(&self) -> Result<Instant, Code> {
        let mark = self.mark().filter(|_| self.has_timing);
        let mark = mark.ok_or(Code::INVALID_HANDLE)?;
        mark.time().ok_or(Code::NOT_READY)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// Its stream has come to it.
    pub(crate) fn reach(&self) {
        *self.reached() = Some(Instant::now());
        self.changed.notify_all();
    }

    pub(crate) fn wait(&self) {
        drop(
            self.changed
                .wait_while(self.reached(), |reached| reached.is_none())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn time(&self) -> Option<Instant> {
        *self.reached()
    }

    fn reached(&self) -> MutexGuard<'_, Option<Instant>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
