//! A word to something slow on another thread: nobody wants it any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Shared by who wants something and who makes it.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    /// Says so.
    pub fn halt(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it was said.
    pub fn is_halted(&self) -> bool {
        self.0.load(Relaxed)
    }
}
