//! The environment variables of the crate's documentation.

use std::{env, str::FromStr, time::Duration};

use crate::fault::Faults;

/// Devices at most; the counters' file has room for so many.
pub(crate) const DEVICE_LIMIT: usize = 16;

/// What the environment says, read once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) device_count: usize,
    pub(crate) memory_byte_size: u64,
    pub(crate) driver_version: i32,
    pub(crate) init_error: i32,
    pub(crate) numa_node_count: usize,
    pub(crate) mig: Vec<usize>,
    pub(crate) copy_latency: Duration,
    /// Zero for no bound.
    pub(crate) copy_bytes_per_second: u64,
    pub(crate) kernel_latency: Duration,
    /// Whether NVML has events.
    pub(crate) tells_events: bool,
}

impl Settings {
    pub(crate) fn read() -> Self {
        Self {
            device_count: number("FAKE_CUDA_DEVICES", 8).min(DEVICE_LIMIT),
            memory_byte_size: number::<u64>("FAKE_CUDA_MEMORY_MB", 1024) << 20,
            driver_version: number("FAKE_CUDA_DRIVER", 13000),
            init_error: number("FAKE_CUDA_INIT_ERROR", 0),
            numa_node_count: number("FAKE_CUDA_NUMA_NODES", 0),
            mig: text("FAKE_CUDA_MIG")
                .split(',')
                .filter_map(|ordinal| ordinal.trim().parse().ok())
                .collect(),
            copy_latency: Duration::from_micros(number("FAKE_CUDA_COPY_US", 0)),
            copy_bytes_per_second: number::<u64>("FAKE_CUDA_COPY_MB_PER_S", 0) << 20,
            kernel_latency: Duration::from_micros(number("FAKE_CUDA_KERNEL_US", 0)),
            tells_events: number("FAKE_CUDA_EVENTS", 1) != 0,
        }
    }

    /// How long a copy takes at least.
    pub(crate) fn copy_time(&self, byte_size: u64) -> Duration {
        let transfer = (byte_size.saturating_mul(1_000_000_000))
            .checked_div(self.copy_bytes_per_second)
            .unwrap_or(0);
        self.copy_latency + Duration::from_nanos(transfer)
    }
}

/// What goes wrong on device `ordinal`.
///
/// # Panics
/// On a setting that cannot be read: a test that misspells a fault must not pass without it.
pub(crate) fn faults(ordinal: usize) -> Faults {
    let text = text("FAKE_CUDA_FAULTS");
    Faults::parse(&text, ordinal)
        .unwrap_or_else(|part| panic!("FAKE_CUDA_FAULTS: '{part}' is no fault"))
}

fn text(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    match text(name) {
        unset if unset.is_empty() => default,
        set => set
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{name}: '{set}' is no number")),
    }
}
