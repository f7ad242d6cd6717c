//! The devices that instances run on: the host, and every accelerator that is found at run time,
//! never a build flag.

use std::{fmt, num::NonZero, thread};

/// Where an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU.
    Host,
    /// The CUDA device with this ordinal, as the driver counts them.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// What this machine has.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Hardware threads that this process may use.
    pub cpu_count: usize,
    /// CUDA devices, in the order of their ordinals. Empty without a driver.
    pub gpus: Vec<Gpu>,
}

/// One CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As the driver counts them.
    pub ordinal: u32,
    /// `GPU-<uuid>`, or `MIG-<uuid>` for a part of one.
    pub uuid: String,
    /// The product's name.
    pub name: String,
    /// Major and minor compute capability.
    pub compute_capability: (u32, u32),
    /// All of its memory, in bytes.
    pub memory_byte_size: u64,
    /// The node of the host's memory that is nearest to it, where the system says so.
    pub numa_node: Option<u32>,
}

impl Inventory {
    /// Looks.
    pub fn probe() -> Self {
        Self {
            cpu_count: thread::available_parallelism().map_or(1, NonZero::get),
            gpus: Vec::new(),
        }
    }
}
