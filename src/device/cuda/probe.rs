//! Whether there is a driver, whether it has what we call, and what devices it knows.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ffi::{CStr, c_char, c_int},
    fs,
    panic::catch_unwind,
};

use cudarc::driver::sys::{self, CUdevice, CUdevice_attribute as Attribute, CUuuid};

use super::{error::succeed, event::ELAPSED_TIME};
use crate::device::Gpu;

/// Every function of the driver that this room calls. Bindings find each at its first use, and
/// panic if it is not there; so all are looked for first. They are as old as CUDA 12.0.
pub(super) const SYMBOLS: &[&str] = &[
    "cuCtxGetStreamPriorityRange",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetPCIBusId",
    "cuDeviceGetUuid_v2",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxSetFlags_v2",
    "cuDeviceTotalMem_v2",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuIpcCloseMemHandle",
    "cuIpcGetMemHandle",
    "cuIpcOpenMemHandle_v2",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetAddressRange_v2",
    "cuMemGetInfo_v2",
    "cuMemHostGetDevicePointer_v2",
    "cuMemHostRegister_v2",
    "cuMemHostUnregister",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyPeerAsync",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreateWithPriority",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// The devices of this machine, in the order of their ordinals.
///
/// # Errors
/// Why there are none, in one line.
pub fn probe() -> Result<Vec<Gpu>, String> {
    catch_unwind(look).unwrap_or_else(|_| Err("the CUDA driver could not be asked".to_owned()))
}

fn look() -> Result<Vec<Gpu>, String> {
    // SAFETY: libraries of the names that the driver has are opened and closed again.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "libcuda.so.1 was not found: there is no NVIDIA driver, or none in this container"
                .to_owned(),
        );
    }
    if let Some(missing) = SYMBOLS.iter().find(|name| !exports(name)) {
        return Err(format!(
            "the CUDA driver has no function {missing}, a driver for CUDA 12.0 or newer is needed"
        ));
    }
    if !ELAPSED_TIME.iter().any(|name| exports(name)) {
        return Err("the CUDA driver has no function cuEventElapsedTime".to_owned());
    }
    // SAFETY: the flags must be 0.
    asked("cuInit", unsafe { sys::cuInit(0) })?;
    let mut count = 0;
    // SAFETY: the pointer is to a live integer.
    asked("cuDeviceGetCount", unsafe {
        sys::cuDeviceGetCount(&raw mut count)
    })?;
    (0..u32::try_from(count).unwrap_or(0)).map(gpu).collect()
}

fn exports(name: &str) -> bool {
    // SAFETY: the address is not called.
    unsafe { function::<*const ()>(name) }.is_some()
}

/// A function of the driver, which has been found, by its name.
///
/// # Safety
/// A function of that name has the type `T`.
pub(super) unsafe fn function<T: Copy>(name: &str) -> Option<T> {
    // SAFETY: the driver has been found, so it can be opened.
    let library = unsafe { sys::culib() };
    // SAFETY: what the caller promises; the library is never closed.
    unsafe { library.get::<T>(name.as_bytes()) }
        .ok()
        .map(|symbol| *symbol)
}

fn asked(call: &'static str, result: sys::CUresult) -> Result<(), String> {
    succeed(result).map_err(|code| format!("the CUDA driver answers {call} with {code}"))
}

fn gpu(ordinal: u32) -> Result<Gpu, String> {
    let device = device(ordinal)?;
    let name = name(device)?;
    let kind = if name.contains(" MIG ") { "MIG" } else { "GPU" };
    Ok(Gpu {
        ordinal,
        uuid: format!("{kind}-{}", uuid(device)?),
        compute_capability: (
            capability(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            )?,
            capability(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )?,
        ),
        memory_byte_size: total_memory(device)?,
        numa_node: numa_node(device),
        parent_uuid: None,
        name,
    })
}

/// The driver's number for a device.
pub(super) fn device(ordinal: u32) -> Result<CUdevice, String> {
    let mut device = 0;
    let ordinal = c_int::try_from(ordinal).map_err(|_| format!("there is no device {ordinal}"))?;
    // SAFETY: the pointer is to a live integer.
    asked("cuDeviceGet", unsafe {
        sys::cuDeviceGet(&raw mut device, ordinal)
    })?;
    Ok(device)
}

fn name(device: CUdevice) -> Result<String, String> {
    let mut text = [0; 256];
    // SAFETY: as many bytes can be written as is said.
    asked("cuDeviceGetName", unsafe {
        sys::cuDeviceGetName(text.as_mut_ptr(), 256, device)
    })?;
    Ok(string(&text))
}

/// As `nvidia-smi` writes it, without what it begins with.
fn uuid(device: CUdevice) -> Result<String, String> {
    let mut uuid = CUuuid { bytes: [0; 16] };
    // SAFETY: the pointer is to a live value. The second version tells the UUID of a MIG device.
    asked("cuDeviceGetUuid", unsafe {
        sys::cuDeviceGetUuid_v2(&raw mut uuid, device)
    })?;
    let hex = uuid
        .bytes
        .map(|byte| format!("{:02x}", byte.cast_unsigned()));
    let [a, b, c, d, e] = [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]];
    Ok([a, b, c, d, e].map(|part| part.concat()).join("-"))
}

fn total_memory(device: CUdevice) -> Result<u64, String> {
    let mut byte_size = 0;
    // SAFETY: the pointer is to a live integer.
    asked("cuDeviceTotalMem", unsafe {
        sys::cuDeviceTotalMem_v2(&raw mut byte_size, device)
    })?;
    Ok(byte_size as u64)
}

fn capability(device: CUdevice, which: Attribute) -> Result<u32, String> {
    let value = attribute(device, which)?;
    u32::try_from(value).map_err(|_| format!("the CUDA driver says {value} for {which:?}"))
}

fn attribute(device: CUdevice, which: Attribute) -> Result<i32, String> {
    let mut value = 0;
    // SAFETY: the pointer is to a live integer.
    asked("cuDeviceGetAttribute", unsafe {
        sys::cuDeviceGetAttribute(&raw mut value, which, device)
    })?;
    Ok(value)
}

/// What the kernel says of the device's place on the bus; else what the driver says, if it is new
/// enough to know.
fn numa_node(device: CUdevice) -> Option<u32> {
    let from_kernel = bus_id(device)
        .and_then(|bus| fs::read_to_string(format!("/sys/bus/pci/devices/{bus}/numa_node")).ok())
        .and_then(|text| text.trim().parse::<i32>().ok());
    from_kernel
        .or_else(|| attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID).ok())
        .and_then(|node| u32::try_from(node).ok())
}

fn bus_id(device: CUdevice) -> Option<String> {
    let mut text = [0; 32];
    // SAFETY: as many bytes can be written as is said.
    let result = unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr(), 32, device) };
    succeed(result).ok()?;
    Some(string(&text).to_lowercase())
}

fn string(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().map(|c| c.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}
