//! GPUs that are not there, to plan for a machine that one does not have.

use std::num::NonZero;

use serde::Deserialize;

use crate::device::{Gpu, Inventory};

/// As many as an inventory may hold; more are a mistake.
const GPU_LIMIT: u32 = 1024;

/// A GPU as a file describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    memory_byte_size: u64,
    #[serde(default = "pretended")]
    name: String,
    #[serde(default = "recent")]
    compute_capability: (u32, u32),
    #[serde(default)]
    numa_node: Option<u32>,
}

/// An inventory from a text such as `8x80GiB` or `2x24GiB,1x80GiB` (`0` for no GPUs), or from the
/// YAML of a file: a list of `memory_byte_size`, and if wanted `name`, `compute_capability: [9, 0]`
/// and `numa_node`. Ordinals count from 0.
///
/// # Errors
/// One line that says what was expected.
pub fn pretend(text: &str) -> Result<Inventory, String> {
    let is_short = text
        .trim_start()
        .starts_with(|first: char| first.is_ascii_digit());
    let described = if is_short {
        short(text)?
    } else {
        serde_yaml::from_str(text).map_err(|error| format!("not a list of GPUs: {error}"))?
    };
    if described.len() > usize::try_from(GPU_LIMIT).unwrap_or(usize::MAX) {
        return Err(format!(
            "{} GPUs, the limit is {GPU_LIMIT}",
            described.len()
        ));
    }
    let gpus = (0..).zip(described).map(|(ordinal, gpu)| Gpu {
        ordinal,
        uuid: format!("GPU-pretended-{ordinal}"),
        name: gpu.name,
        compute_capability: gpu.compute_capability,
        memory_byte_size: gpu.memory_byte_size,
        numa_node: gpu.numa_node,
        parent_uuid: None,
    });
    Ok(Inventory {
        cpu_count: std::thread::available_parallelism().map_or(1, NonZero::get),
        gpus: gpus.collect(),
        mig_devices: Vec::new(),
        driver: None,
        no_gpu_reason: None,
    })
}

fn short(text: &str) -> Result<Vec<Described>, String> {
    let mut described = Vec::new();
    if text.trim() == "0" {
        return Ok(described);
    }
    for part in text.split(',').map(str::trim) {
        let fault = || format!("'{part}' is not <count>x<bytes>, such as 8x80GiB");
        let (count, memory) = part.split_once('x').ok_or_else(fault)?;
        let count: u32 = count.trim().parse().map_err(|_| fault())?;
        let memory_byte_size = byte_size(memory.trim()).ok_or_else(fault)?;
        if count > GPU_LIMIT {
            return Err(format!(
                "'{part}' are {count} GPUs, the limit is {GPU_LIMIT}"
            ));
        }
        described.extend((0..count).map(|_| Described {
            memory_byte_size,
            name: pretended(),
            compute_capability: recent(),
            numa_node: None,
        }));
    }
    Ok(described)
}

/// `80GiB`, `512MiB`, or plain bytes.
fn byte_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn pretended() -> String {
    "pretended".to_owned()
}

/// Capable of whatever is asked for.
fn recent() -> (u32, u32) {
    (9, 0)
}
