//! The devices that instances run on: the host, and every accelerator that is found at run time,
//! never a build flag.

mod account;
mod affinity;
mod arena;
pub mod cuda;
mod device_pool;
mod devices;
pub mod kernels;
mod lane;
pub mod measure;
#[cfg(test)]
mod on_fake;
mod pinned_pool;
mod poller;
mod xid;

use std::{fmt, num::NonZero, thread};

pub use self::{
    account::{Account, Entry, Purpose},
    affinity::{Affinity, allowed_cores, parse_cores, show_cores},
    arena::class_byte_size,
    device_pool::DevicePool,
    devices::{Config, Devices, OpenDevice},
    lane::{Lane, LaneConfig},
    pinned_pool::{HostSlab, PinnedPool},
};

use crate::telemetry::nvml::{MigDevice, driver_version, mig_devices};

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
    /// Parts of GPUs that are divided (MIG), in use by this process or not. CUDA shows a process only
    /// those that it may use, and those are among `gpus` too.
    pub mig_devices: Vec<MigDevice>,
    /// The driver's version, such as `580.65.06`, if it says so.
    pub driver: Option<String>,
    /// Why there are no CUDA devices, in one line; `None` if there are.
    pub no_gpu_reason: Option<String>,
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
    /// The UUID of the GPU of which it is a part, if it is one and that is known.
    pub parent_uuid: Option<String>,
}

impl Gpu {
    /// Whether it is that GPU, or a part of it.
    pub fn is_of(&self, uuid: &str) -> bool {
        self.uuid == uuid || self.parent_uuid.as_deref() == Some(uuid)
    }
}

impl Inventory {
    /// Looks: opens the driver's library if there is one, and makes no context on any device.
    pub fn probe() -> Self {
        let (mut gpus, no_gpu_reason) = match cuda::probe() {
            Ok(gpus) if gpus.is_empty() => (gpus, Some("the CUDA driver has no device".to_owned())),
            Ok(gpus) => (gpus, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let mig_devices = match gpus.is_empty() {
            true => Vec::new(),
            false => mig_devices(),
        };
        for gpu in &mut gpus {
            let part = mig_devices.iter().find(|part| part.uuid == gpu.uuid);
            gpu.parent_uuid = part.map(|part| part.gpu_uuid.clone());
        }
        Self {
            driver: (!gpus.is_empty()).then(driver_version).flatten(),
            mig_devices,
            cpu_count: thread::available_parallelism().map_or(1, NonZero::get),
            gpus,
            no_gpu_reason,
        }
    }
}

/// What a pool of memory has and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// All of it.
    pub byte_size: usize,
    /// What is taken, rounded up to size classes.
    pub used_byte_size: usize,
    /// How often there was not enough: host memory that is not pinned was given out, or more of the
    /// device's memory was taken.
    pub overflow_count: u64,
}
