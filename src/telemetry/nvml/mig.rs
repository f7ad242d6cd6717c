//! GPUs that are divided (MIG): their parts, each a device of its own to CUDA.

use nvml_wrapper::{Device, Nvml, error::NvmlError};

use super::{MigDevice, reading};

/// `NVML_DEVICE_MIG_ENABLE`.
const MIG_ENABLED: u32 = 1;

/// The parts of all divided GPUs, whether this process may use them or not. Opens the library, and
/// closes it again; none without it.
pub fn mig_devices() -> Vec<MigDevice> {
    let Ok(nvml) = reading::open() else {
        return Vec::new();
    };
    let count = nvml.device_count().unwrap_or(0);
    (0..count)
        .filter_map(|index| parts_of(&nvml, index).ok())
        .flatten()
        .collect()
}

fn parts_of(nvml: &Nvml, index: u32) -> Result<Vec<MigDevice>, NvmlError> {
    let gpu = nvml.device_by_index(index)?;
    Ok(parts(&gpu, &gpu.uuid()?))
}

/// Whether a GPU is divided, if it tells.
pub(super) fn is_divided(gpu: &Device<'_>) -> Option<bool> {
    let mode = gpu.mig_mode().ok()?;
    Some(mode.current == MIG_ENABLED)
}

/// The parts of one GPU. Their numbers need not be without gaps.
pub(super) fn parts(gpu: &Device<'_>, gpu_uuid: &str) -> Vec<MigDevice> {
    if is_divided(gpu) != Some(true) {
        return Vec::new();
    }
    let most = gpu.mig_device_count().unwrap_or(0);
    let part = |index| {
        let device = gpu.mig_device_by_index(index).ok()?;
        let attributes = device.attributes().ok();
        let memory = device.memory_info().ok();
        Some(MigDevice {
            uuid: device.uuid().ok()?,
            gpu_uuid: gpu_uuid.to_owned(),
            gpu_slices: attributes.as_ref().map(|it| it.gpu_instance_slice_count),
            compute_slices: attributes.map(|it| it.compute_instance_slice_count),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            memory_used_bytes: memory.map(|memory| memory.used),
        })
    };
    (0..most).filter_map(part).collect()
}
