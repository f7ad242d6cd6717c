//! Asks the library.

use std::collections::BTreeMap;

use nvml_wrapper::{
    Device, Nvml, bitmasks::device::ThrottleReasons, enum_wrappers::device as of, error::NvmlError,
};

use super::{Clock, EccError, GpuSample, PcieDirection, ThrottleReason, XidCounts, mig};

/// Opens the library.
///
/// # Errors
/// That it is not there, or cannot reach its driver.
pub(super) fn open() -> Result<Nvml, NvmlError> {
    Nvml::init()
}

/// The driver's version, such as `580.65.06`. Opens the library, and closes it again.
pub fn driver_version() -> Option<String> {
    open().ok()?.sys_driver_version().ok()
}

/// Looks at the GPUs, and remembers what has to be between two looks.
pub(super) struct Reader<'nvml> {
    nvml: &'nvml Nvml,
    /// In the library's order.
    gpus: Vec<Remembered>,
    xids: XidCounts,
}

/// Of one GPU.
#[derive(Clone, Default)]
struct Remembered {
    /// The energy at the first look, in millijoules.
    first_energy: Option<u64>,
}

impl<'nvml> Reader<'nvml> {
    pub(super) fn new(nvml: &'nvml Nvml, xids: XidCounts) -> Self {
        let count = nvml.device_count().unwrap_or(0);
        let gpus = (0..count).map(|_| Remembered::default());
        Self {
            nvml,
            gpus: gpus.collect(),
            xids,
        }
    }

    /// One that does not even tell its UUID, as it has fallen off the bus, is left out.
    pub(super) fn read(&mut self) -> Vec<GpuSample> {
        (0..)
            .zip(&mut self.gpus)
            .filter_map(|(index, gpu)| {
                let device = self.nvml.device_by_index(index).ok()?;
                let uuid = device.uuid().ok()?;
                let xid_errors = self.xids.of(&uuid);
                Some(GpuSample {
                    xid_errors,
                    ..gpu.sample(&device, uuid)
                })
            })
            .collect()
    }
}

impl Remembered {
    fn sample(&mut self, device: &Device<'_>, uuid: String) -> GpuSample {
        let memory = device.memory_info().ok();
        let utilization = device.utilization_rates().ok();
        let mig_devices = mig::parts(device, &uuid);
        GpuSample {
            uuid,
            utilization: utilization.map(|rates| f64::from(rates.gpu) / 100.0),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            power_watts: device.power_usage().ok().map(watts),
            power_limit_watts: device.enforced_power_limit().ok().map(watts),
            energy_joules: self.energy_joules(device),
            temperature_celsius: device.temperature(of::TemperatureSensor::Gpu).ok(),
            clocks_hertz: known(Clock::ALL, |clock| clock_hertz(device, clock)),
            throttle_reasons: throttle_reasons(device),
            ecc_errors: known(EccError::ALL, |error| ecc_errors(device, error)),
            pcie_bytes_per_second: known(PcieDirection::ALL, |to| pcie_traffic(device, to)),
            xid_errors: BTreeMap::new(),
            mig_enabled: mig::is_divided(device),
            mig_devices,
        }
    }

    fn energy_joules(&mut self, device: &Device<'_>) -> Option<f64> {
        let now = device.total_energy_consumption().ok()?;
        let first = *self.first_energy.get_or_insert(now);
        #[allow(clippy::cast_precision_loss)] // 2^53 mJ are more than a GPU uses in its life
        Some(now.saturating_sub(first) as f64 / 1000.0)
    }
}

fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1000.0
}

/// Each of `all` with its value, where there is one.
fn known<Label: Copy, Value>(
    all: &[Label],
    value: impl Fn(Label) -> Option<Value>,
) -> Vec<(Label, Value)> {
    all.iter()
        .filter_map(|&label| Some((label, value(label)?)))
        .collect()
}

fn clock_hertz(device: &Device<'_>, clock: Clock) -> Option<u64> {
    let kind = match clock {
        Clock::Sm => of::Clock::SM,
        Clock::Memory => of::Clock::Memory,
        Clock::Graphics => of::Clock::Graphics,
        Clock::Video => of::Clock::Video,
    };
    let megahertz = device.clock_info(kind).ok()?;
    Some(u64::from(megahertz) * 1_000_000)
}

fn throttle_reasons(device: &Device<'_>) -> Vec<(ThrottleReason, bool)> {
    let Ok(now) = device.current_throttle_reasons() else {
        return Vec::new();
    };
    let is_one = |reason| now.contains(throttle_flag(reason));
    known(ThrottleReason::ALL, |reason| Some(is_one(reason)))
}

fn throttle_flag(reason: ThrottleReason) -> ThrottleReasons {
    match reason {
        ThrottleReason::Idle => ThrottleReasons::GPU_IDLE,
        ThrottleReason::ApplicationClocks => ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
        ThrottleReason::PowerCap => ThrottleReasons::SW_POWER_CAP,
        ThrottleReason::HardwareSlowdown => ThrottleReasons::HW_SLOWDOWN,
        ThrottleReason::SyncBoost => ThrottleReasons::SYNC_BOOST,
        ThrottleReason::SoftwareThermal => ThrottleReasons::SW_THERMAL_SLOWDOWN,
        ThrottleReason::HardwareThermal => ThrottleReasons::HW_THERMAL_SLOWDOWN,
        ThrottleReason::PowerBrake => ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN,
        ThrottleReason::DisplayClocks => ThrottleReasons::DISPLAY_CLOCK_SETTING,
    }
}

fn ecc_errors(device: &Device<'_>, error: EccError) -> Option<u64> {
    let kind = match error {
        EccError::Corrected => of::MemoryError::Corrected,
        EccError::Uncorrected => of::MemoryError::Uncorrected,
    };
    device.total_ecc_errors(kind, of::EccCounter::Volatile).ok()
}

fn pcie_traffic(device: &Device<'_>, direction: PcieDirection) -> Option<u64> {
    let counter = match direction {
        PcieDirection::Receive => of::PcieUtilCounter::Receive,
        PcieDirection::Transmit => of::PcieUtilCounter::Send,
    };
    let kilobytes = device.pcie_throughput(counter).ok()?;
    Some(u64::from(kilobytes) * 1024)
}
