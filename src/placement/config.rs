//! The room's settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    device::{self, Affinity, Inventory},
    model_config::AutoPlacement,
};

/// Which devices models may use, how much of them, and how instances' threads are bound.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What `KIND_AUTO` means on a machine with GPUs, for groups that name none.
    pub auto: AutoPlacement,
    /// GPUs that are capable of less are not used.
    pub min_compute_capability: f64,
    /// By a GPU's ordinal: the share of its memory, from 0 to 1, that models may take. All of it
    /// where nothing is said.
    pub gpu_limits: BTreeMap<u32, f64>,
    /// How the threads of instances are bound, by the policy's name. Unless an instance group names
    /// one, it is `cpu`, `model` or `gpu_<ordinal>`.
    pub host_policies: BTreeMap<String, HostPolicy>,
}

/// How threads are bound.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostPolicy {
    /// Memory comes from this node, and unless `cpu_cores` is set, threads run on its cores.
    pub numa_node: Option<u32>,
    /// Threads run on these cores, such as `0-7,10`.
    pub cpu_cores: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            auto: AutoPlacement::Every,
            min_compute_capability: 7.5,
            gpu_limits: BTreeMap::new(),
            host_policies: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Ordinals of the GPUs that may be used.
    pub fn usable_gpus(&self, inventory: &Inventory) -> Vec<u32> {
        let capability = |(major, minor): (u32, u32)| f64::from(major) + f64::from(minor) / 10.0;
        inventory
            .gpus
            .iter()
            .filter(|gpu| capability(gpu.compute_capability) >= self.min_compute_capability)
            .map(|gpu| gpu.ordinal)
            .collect()
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// One line that names the setting and its value.
    pub(super) fn check_limits(&self) -> Result<(), String> {
        for (ordinal, fraction) in &self.gpu_limits {
            if !(0.0..=1.0).contains(fraction) {
                return Err(format!(
                    "the limit of GPU {ordinal} must be a fraction from 0 to 1, not {fraction}"
                ));
            }
        }
        Ok(())
    }

    /// The host policies, checked against this machine.
    ///
    /// # Errors
    /// One line that names the policy and what is wrong with it.
    pub(super) fn affinities(&self) -> Result<BTreeMap<String, Affinity>, String> {
        self.host_policies
            .iter()
            .map(|(name, policy)| {
                let affinity = policy
                    .affinity()
                    .map_err(|fault| format!("host policy '{name}': {fault}"))?;
                Ok((name.clone(), affinity))
            })
            .collect()
    }
}

impl HostPolicy {
    fn affinity(&self) -> Result<Affinity, String> {
        let cores = self.cpu_cores.as_deref().map(device::parse_cores);
        let affinity = Affinity {
            cores: cores.transpose()?.unwrap_or_default(),
            numa_node: self.numa_node,
        };
        affinity.check()?;
        Ok(affinity)
    }
}
