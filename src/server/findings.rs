//! What a server would find on this machine: devices, and which backends can use them. Loads no model.

use std::fs;

use serde::Serialize;

use super::assemble::backends;
use crate::{
    backend::{Backend, onnxruntime},
    config::Config,
    device::{Device, Devices, Inventory},
};

/// Where a driver says its version, in its first line.
const DRIVER_FILE: &str = "/proc/driver/nvidia/version";

/// What there is, and why what is not there is not.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The server's own version.
    pub version: &'static str,
    /// The kernel's name and version, where it says so.
    pub kernel: Option<String>,
    /// Processors that this process may use.
    pub cpu_count: usize,
    /// What the driver says of itself, where it does.
    pub driver: Option<String>,
    /// The GPUs.
    pub gpus: Vec<FoundGpu>,
    /// Why there are none.
    pub no_gpu_reason: Option<String>,
    /// The backends, by name.
    pub backends: Vec<FoundBackend>,
    /// ONNX Runtime's library and how it was found, or what was tried.
    pub onnxruntime: Result<String, String>,
}

/// One GPU.
#[derive(Debug, Serialize)]
pub struct FoundGpu {
    /// As the driver counts them.
    pub ordinal: u32,
    /// The product's name.
    pub name: String,
    /// `GPU-…` or `MIG-…`.
    pub uuid: String,
    /// Its compute capability, such as `9.0`.
    pub compute_capability: String,
    /// All of its memory, in bytes.
    pub memory_byte_size: u64,
    /// The node of the host's memory that is nearest to it.
    pub numa_node: Option<u32>,
    /// Whether models may use it: whether its compute capability is high enough.
    pub is_usable: bool,
}

/// One backend.
#[derive(Debug, Serialize)]
pub struct FoundBackend {
    /// Its name.
    pub name: &'static str,
    /// Why it cannot load models.
    pub not_ready: Option<String>,
    /// Why its models cannot use GPUs; also set where there is none.
    pub not_on_gpus: Option<String>,
}

/// Looks.
pub fn findings(config: &Config) -> Findings {
    let inventory = Inventory::probe();
    let usable = config.placement.usable_gpus(&inventory);
    let devices = Devices::new(&inventory, &config.gpu);
    let registry = backends(config, &inventory, &devices);
    let first = usable.first().copied();
    let located = onnxruntime::locate(&config.onnxruntime);
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        kernel: first_line("/proc/version"),
        cpu_count: inventory.cpu_count,
        driver: first_line(DRIVER_FILE),
        gpus: gpus(&inventory, &usable),
        no_gpu_reason: inventory.no_gpu_reason,
        backends: registry
            .iter()
            .map(|backend| found(backend.as_ref(), first))
            .collect(),
        onnxruntime: located.map(|it| format!("{} ({})", it.path.display(), it.source)),
    }
}

fn gpus(inventory: &Inventory, usable: &[u32]) -> Vec<FoundGpu> {
    let gpus = inventory.gpus.iter().map(|gpu| {
        let (major, minor) = gpu.compute_capability;
        FoundGpu {
            ordinal: gpu.ordinal,
            name: gpu.name.clone(),
            uuid: gpu.uuid.clone(),
            compute_capability: format!("{major}.{minor}"),
            memory_byte_size: gpu.memory_byte_size,
            numa_node: gpu.numa_node,
            is_usable: usable.contains(&gpu.ordinal),
        }
    });
    gpus.collect()
}

fn found(backend: &dyn Backend, gpu: Option<u32>) -> FoundBackend {
    let not_ready = backend.ready().err().map(|error| error.to_string());
    let not_on_gpus = match (&not_ready, gpu) {
        (Some(reason), _) => Some(reason.clone()),
        (None, None) => Some("there is no GPU that models may use".to_owned()),
        (None, Some(ordinal)) => {
            let usable = backend.usable_on(Device::Cuda(ordinal));
            usable.err().map(|error| error.to_string())
        }
    };
    FoundBackend {
        name: backend.name(),
        not_ready,
        not_on_gpus,
    }
}

fn first_line(file: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().next().map(str::to_owned)
}
