//! NVML's functions, as `nvml.h` declares them. It shares its state with the driver: memory in use and
//! busy time are those of the driver's calls, and an error that kills a context is an Xid event here.
//! Temperatures, clocks and power are made up, differ from device to device, and never change.

mod event;

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

use crate::{
    code::Code,
    counters::Counter,
    device::Device,
    driver::{Out, Text, bus_id, exported},
    state::state,
    table::Handle,
};

const INVALID_ARGUMENT: Code = Code(2);
const NOT_FOUND: Code = Code(6);
const INSUFFICIENT_SIZE: Code = Code(7);
const GPU_IS_LOST: Code = Code(15);

/// Where handles of parts of GPUs begin: a part's is its GPU's, and this.
const PART: Handle = 0x1000;

/// The device with that handle, its ordinal and one, or with the handle of its part.
fn device(handle: Handle) -> Result<&'static Device, Code> {
    let device = (handle % PART)
        .checked_sub(1)
        .and_then(|ordinal| state().devices().get(ordinal))
        .filter(|device| handle < PART || device.is_mig)
        .ok_or(INVALID_ARGUMENT)?;
    match device.is_reachable() {
        true => Ok(device),
        false => Err(GPU_IS_LOST),
    }
}

/// The device with that handle, of a whole GPU.
fn whole(handle: Handle) -> Result<&'static Device, Code> {
    match handle < PART {
        true => device(handle),
        false => Err(INVALID_ARGUMENT),
    }
}

fn handle_of(found: Option<&Device>) -> Result<Handle, Code> {
    found.map(|device| device.ordinal + 1).ok_or(NOT_FOUND)
}

fn text(out: &Out<c_char>, byte_size: c_uint, text: &str) -> Result<(), Code> {
    out.set_text(byte_size as usize, text)
        .map_err(|_| INSUFFICIENT_SIZE)
}

/// `GPU-46414b45-…` for a whole GPU, `MIG-46414b45-…` for a part, of the bytes that the driver tells.
fn uuid(handle: Handle) -> Result<String, Code> {
    let device = device(handle)?;
    let (kind, bytes) = match handle < PART {
        true => ("GPU", device.gpu_uuid()),
        false => ("MIG", device.uuid()),
    };
    let hex = bytes.map(|byte| format!("{byte:02x}"));
    let part = |from: usize, to: usize| hex[from..to].concat();
    let parts = [
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 16),
    ];
    Ok(format!("{kind}-{}", parts.join("-")))
}

/// `nvmlDeviceAttributes_t`.
#[repr(C)]
pub struct Attributes {
    multiprocessors: c_uint,
    /// For copies, decoding, encoding, JPEG and optical flow.
    shared_engines: [c_uint; 5],
    gpu_slices: c_uint,
    compute_slices: c_uint,
    memory_megabytes: c_ulonglong,
}

/// `nvmlMemory_t`.
#[repr(C)]
pub struct MemoryInfo {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub struct MemoryInfoV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlMemory_v2`: the structure's size, and from bit 24 on its version.
const MEMORY_INFO_VERSION: c_uint = size_of::<MemoryInfoV2>() as c_uint | 2 << 24;

/// `nvmlUtilization_t`.
#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlPciInfo_t`.
#[repr(C)]
pub struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut chars = [0; N];
    for (to, byte) in chars[..N - 1].iter_mut().zip(text.bytes()) {
        *to = byte as c_char;
    }
    chars
}

exported! {
    fn nvmlInit_v2() {
        init()
    }

    fn nvmlInitWithFlags(_flags: c_uint) {
        init()
    }

    fn nvmlShutdown() {
        Ok(())
    }

    fn nvmlSystemGetDriverVersion(version: Out<c_char>, byte_size: c_uint) {
        text(&version, byte_size, "580.00.fake")
    }

    fn nvmlSystemGetNVMLVersion(version: Out<c_char>, byte_size: c_uint) {
        text(&version, byte_size, "13.580.00.fake")
    }

    fn nvmlSystemGetCudaDriverVersion_v2(version: Out<c_int>) {
        version.set(state().settings.driver_version)
    }

    fn nvmlDeviceGetCount_v2(count: Out<c_uint>) {
        count.set(state().devices().len() as c_uint)
    }

    fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, handle: Out<Handle>) {
        device(index as usize + 1)?;
        handle.set(index as usize + 1)
    }

    fn nvmlDeviceGetHandleByUUID(wanted: Text, handle: Out<Handle>) {
        let wanted = wanted.read()?;
        let handles = (1..=state().devices().len()).flat_map(|handle| [handle, PART + handle]);
        let found = handles.into_iter().find(|&handle| uuid(handle).is_ok_and(|uuid| uuid == wanted));
        handle.set(found.ok_or(NOT_FOUND)?)
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(wanted: Text, handle: Out<Handle>) {
        let wanted = wanted.read()?;
        let is_it = |device: &&Device| wanted.ends_with(&bus_id(device.ordinal));
        handle.set(handle_of(state().devices().iter().find(is_it))?)
    }

    fn nvmlDeviceGetIndex(handle: Handle, index: Out<c_uint>) {
        index.set(device(handle)?.ordinal as c_uint)
    }

    fn nvmlDeviceGetName(handle: Handle, name: Out<c_char>, byte_size: c_uint) {
        text(&name, byte_size, &device(handle)?.name())
    }

    fn nvmlDeviceGetUUID(handle: Handle, answer: Out<c_char>, byte_size: c_uint) {
        text(&answer, byte_size, &uuid(handle)?)
    }

    fn nvmlDeviceGetPciInfo_v3(handle: Handle, info: Out<PciInfo>) {
        let device = device(handle)?;
        let bus_id = bus_id(device.ordinal);
        info.set(PciInfo {
            bus_id_legacy: chars(&bus_id),
            domain: 0,
            bus: device.ordinal as c_uint + 1,
            device: 0,
            pci_device_id: 0,
            pci_subsystem_id: 0,
            bus_id: chars(&format!("0000{bus_id}")),
        })
    }

    fn nvmlDeviceGetMemoryInfo(handle: Handle, info: Out<MemoryInfo>) {
        let device = device(handle)?;
        let used = device.value(Counter::UsedBytes);
        info.set(MemoryInfo {
            total: device.memory_byte_size,
            free: device.memory_byte_size.saturating_sub(used),
            used,
        })
    }

    fn nvmlDeviceGetMemoryInfo_v2(handle: Handle, info: Out<MemoryInfoV2>) {
        let device = device(handle)?;
        let used = device.value(Counter::UsedBytes);
        info.set(MemoryInfoV2 {
            version: MEMORY_INFO_VERSION,
            total: device.memory_byte_size,
            reserved: 0,
            free: device.memory_byte_size.saturating_sub(used),
            used,
        })
    }

    fn nvmlDeviceGetUtilizationRates(handle: Handle, rates: Out<Utilization>) {
        let gpu = device(handle)?.utilization();
        rates.set(Utilization { gpu, memory: gpu / 2 })
    }

    fn nvmlDeviceGetTemperature(handle: Handle, _sensor: c_uint, celsius: Out<c_uint>) {
        celsius.set(40 + device(handle)?.ordinal as c_uint)
    }

    fn nvmlDeviceGetPowerUsage(handle: Handle, milliwatts: Out<c_uint>) {
        milliwatts.set(100_000 + 1000 * device(handle)?.ordinal as c_uint)
    }

    fn nvmlDeviceGetEnforcedPowerLimit(handle: Handle, milliwatts: Out<c_uint>) {
        device(handle)?;
        milliwatts.set(700_000)
    }

    fn nvmlDeviceGetPowerManagementLimit(handle: Handle, milliwatts: Out<c_uint>) {
        device(handle)?;
        milliwatts.set(700_000)
    }

    fn nvmlDeviceGetTotalEnergyConsumption(handle: Handle, millijoules: Out<c_ulonglong>) {
        let watts = 100 + device(handle)?.ordinal as u128;
        let spent = state().started.elapsed().as_millis() * watts;
        millijoules.set(u64::try_from(spent).unwrap_or(u64::MAX))
    }

    fn nvmlDeviceGetClockInfo(handle: Handle, kind: c_uint, megahertz: Out<c_uint>) {
        device(handle)?;
        megahertz.set(if kind == 2 { 2619 } else { 1980 })
    }

    fn nvmlDeviceGetMaxClockInfo(handle: Handle, kind: c_uint, megahertz: Out<c_uint>) {
        device(handle)?;
        megahertz.set(if kind == 2 { 2619 } else { 1980 })
    }

    fn nvmlDeviceGetCurrentClocksThrottleReasons(handle: Handle, reasons: Out<c_ulonglong>) {
        device(handle)?;
        reasons.set(0)
    }

    fn nvmlDeviceGetEccMode(handle: Handle, current: Out<c_uint>, pending: Out<c_uint>) {
        device(handle)?;
        current.set(1)?;
        pending.set(1)
    }

    fn nvmlDeviceGetTotalEccErrors(
        handle: Handle,
        kind: c_uint,
        _counter: c_uint,
        count: Out<c_ulonglong>,
    ) {
        const UNCORRECTED: c_uint = 1;
        let died = device(handle)?.check() == Err(Code::ECC_UNCORRECTABLE);
        count.set(c_ulonglong::from(died && kind == UNCORRECTED))
    }

    fn nvmlDeviceGetPcieThroughput(handle: Handle, counter: c_uint, kilobytes: Out<c_uint>) {
        // Since the start, for the fake does not know what a second ago was.
        let device = device(handle)?;
        let counter = if counter == 0 { Counter::DownloadedBytes } else { Counter::UploadedBytes };
        let seconds = state().started.elapsed().as_secs().max(1);
        kilobytes.set((device.value(counter) / 1024 / seconds) as c_uint)
    }

    fn nvmlDeviceGetMigMode(handle: Handle, current: Out<c_uint>, pending: Out<c_uint>) {
        let mode = c_uint::from(whole(handle)?.is_mig);
        current.set(mode)?;
        pending.set(mode)
    }

    fn nvmlDeviceGetMaxMigDeviceCount(handle: Handle, count: Out<c_uint>) {
        count.set(if whole(handle)?.is_mig { 7 } else { 0 })
    }

    fn nvmlDeviceGetMigDeviceHandleByIndex(handle: Handle, index: c_uint, part: Out<Handle>) {
        // One part, and not the first of those that there could be.
        match whole(handle)?.is_mig && index == 2 {
            true => part.set(PART + handle),
            false => Err(NOT_FOUND),
        }
    }

    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part: Handle, handle: Out<Handle>) {
        device(part)?;
        handle.set(part.checked_sub(PART).ok_or(INVALID_ARGUMENT)?)
    }

    fn nvmlDeviceIsMigDeviceHandle(handle: Handle, is_part: Out<c_uint>) {
        device(handle)?;
        is_part.set(c_uint::from(handle >= PART))
    }

    fn nvmlDeviceGetAttributes_v2(handle: Handle, attributes: Out<Attributes>) {
        let device = device(handle)?;
        attributes.set(Attributes {
            multiprocessors: 16,
            shared_engines: [1, 0, 0, 0, 0],
            gpu_slices: 1,
            compute_slices: 1,
            memory_megabytes: device.memory_byte_size >> 20,
        })
    }
}

fn init() -> Result<(), Code> {
    match state().settings.init_error {
        0 => Ok(()),
        _ => Err(Code(999)),
    }
}

/// `const char *nvmlErrorString(nvmlReturn_t)`.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn nvmlErrorString(code: c_int) -> *const c_char {
    let text = match code {
        0 => c"Success",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        10 => c"Timeout",
        15 => c"GPU is lost",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}
