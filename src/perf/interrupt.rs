//! Ends a run before its time.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often somebody has asked for the end: once, and what was measured so far is reported; twice, and
/// answers are no longer waited for.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicU32);

impl Interrupt {
    /// Asks for the end, from any thread.
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether anybody has.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody has more than once.
    pub(super) fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}
