//! The devices that instances run on. Today that is the host; an accelerator is one more device
//! found at run time, never a build flag.

use std::{fmt, num::NonZero, thread};

/// Where an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU.
    Host,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("cpu"),
        }
    }
}

/// What this machine has.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Hardware threads that this process may use.
    pub cpu_count: usize,
}

impl Inventory {
    /// Looks.
    pub fn probe() -> Self {
        Self {
            cpu_count: thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}
