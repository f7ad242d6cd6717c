//! What was found out about one GPU.

use std::collections::BTreeMap;

/// One GPU at one time. What the library or the GPU does not tell is `None`, or not in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuSample {
    /// As the driver writes it: `GPU-…`.
    pub uuid: String,
    /// The share of the last sampling period in which a kernel ran, from 0 to 1.
    pub utilization: Option<f64>,
    /// Memory that it has, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory in use by anybody, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// What it draws, in watts.
    pub power_watts: Option<f64>,
    /// What it may draw, in watts.
    pub power_limit_watts: Option<f64>,
    /// What it has used since the server began to look, in joules.
    pub energy_joules: Option<f64>,
    /// The temperature of its die, in degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// How fast its clocks run, in hertz.
    pub clocks_hertz: Vec<(Clock, u64)>,
    /// Why its clocks are lower than they could be, and whether that is so now.
    pub throttle_reasons: Vec<(ThrottleReason, bool)>,
    /// Memory errors since the driver was loaded.
    pub ecc_errors: Vec<(EccError, u64)>,
    /// Traffic on the bus, in bytes a second, as the driver measured it over the last 20 ms.
    pub pcie_bytes_per_second: Vec<(PcieDirection, u64)>,
    /// Critical errors since the server began to look, by their number.
    pub xid_errors: BTreeMap<u64, u64>,
    /// Whether it is divided into instances.
    pub mig_enabled: Option<bool>,
    /// The instances into which it is divided.
    pub mig_devices: Vec<MigDevice>,
}

/// A part of a GPU that is a device of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigDevice {
    /// As the driver writes it: `MIG-…`.
    pub uuid: String,
    /// The GPU of which it is a part.
    pub gpu_uuid: String,
    /// How many of the GPU's slices its GPU instance has: shares of memory and of its engines.
    pub gpu_slices: Option<u32>,
    /// How many of these slices' processors its compute instance has.
    pub compute_slices: Option<u32>,
    /// Memory that it has, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory in use by anybody, in bytes.
    pub memory_used_bytes: Option<u64>,
}

macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name as a metric's label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labelled! {
    /// A clock.
    Clock { Sm = "sm", Memory = "memory", Graphics = "graphics", Video = "video", }
}

labelled! {
    /// Why clocks are lower than they could be.
    ThrottleReason {
        Idle = "idle",
        ApplicationClocks = "application_clocks",
        PowerCap = "power_cap",
        HardwareSlowdown = "hardware_slowdown",
        SyncBoost = "sync_boost",
        SoftwareThermal = "software_thermal",
        HardwareThermal = "hardware_thermal",
        PowerBrake = "power_brake",
        DisplayClocks = "display_clocks",
    }
}

labelled! {
    /// What became of a memory error.
    EccError { Corrected = "corrected", Uncorrected = "uncorrected", }
}

labelled! {
    /// Seen from the GPU.
    PcieDirection { Receive = "receive", Transmit = "transmit", }
}
