//! The flags that say which devices models may use, and how.

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};

use crate::{
    model_config::AutoPlacement,
    placement::{Config, HostPolicy},
};

/// Flags; what is not given keeps what the file or the defaults say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct PlacementFlags {
    /// What KIND_AUTO without gpus means where there are GPUs: instances on every one, as in Triton,
    /// or packed where there is most room.
    #[arg(long, value_name = "HOW", help_heading = "Devices")]
    auto_placement: Option<Auto>,
    /// Do not use GPUs that are capable of less.
    #[arg(long, value_name = "MAJOR.MINOR", help_heading = "Devices")]
    min_supported_compute_capability: Option<f64>,
    /// Models may take this fraction of a GPU's memory. May be given once for each GPU.
    #[arg(long, value_name = "GPU:FRACTION", help_heading = "Devices")]
    model_load_gpu_limit: Vec<String>,
    /// Bind the threads of instances: numa-node=<node> or cpu-cores=<list>. The policy is one that an
    /// instance group names, or cpu, model or gpu_<id>. May be given more than once.
    #[arg(long, value_name = "POLICY,SETTING=VALUE", help_heading = "Devices")]
    host_policy: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Auto {
    Every,
    Pack,
}

impl PlacementFlags {
    /// Lays the flags over `config`.
    ///
    /// # Errors
    /// If one is malformed.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        if let Some(auto) = self.auto_placement {
            config.auto = match auto {
                Auto::Every => AutoPlacement::Every,
                Auto::Pack => AutoPlacement::Pack,
            };
        }
        if let Some(capability) = self.min_supported_compute_capability {
            config.min_compute_capability = capability;
        }
        for text in &self.model_load_gpu_limit {
            let (ordinal, fraction) = gpu_limit(text).ok_or_else(|| {
                anyhow!(
                    "--model-load-gpu-limit option format is '<device_id>:<fraction>'. Got {text}"
                )
            })?;
            config.gpu_limits.insert(ordinal, fraction);
        }
        for text in &self.host_policy {
            apply_host_policy(config, text)?;
        }
        Ok(())
    }
}

fn gpu_limit(text: &str) -> Option<(u32, f64)> {
    let (ordinal, fraction) = text.split_once(':')?;
    Some((ordinal.parse().ok()?, fraction.parse().ok()?))
}

/// Triton's messages.
fn apply_host_policy(config: &mut Config, text: &str) -> Result<()> {
    let parts = text
        .split_once(',')
        .and_then(|(name, assignment)| Some((name, assignment.split_once('=')?)));
    let Some((name, (setting, value))) = parts.filter(|(name, _)| !name.is_empty()) else {
        bail!("--host-policy option format is '<policy name>,<setting>=<value>'. Got {text}");
    };
    let policy: &mut HostPolicy = config.host_policies.entry(name.to_owned()).or_default();
    match setting {
        "numa-node" => {
            let node = value
                .parse()
                .map_err(|_| anyhow!("--host-policy {text}: '{value}' is not a node's number"))?;
            policy.numa_node = Some(node);
        }
        "cpu-cores" => policy.cpu_cores = Some(value.to_owned()),
        _ => bail!(
            "Unsupported host policy setting '{setting}' is specified, supported settings are \
             'numa-node', 'cpu-cores'"
        ),
    }
    Ok(())
}
