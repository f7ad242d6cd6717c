//! Where instances run: the plan, what is taken of each GPU, and how instances' threads are bound.
//! Loads nothing and knows no engine.

mod config;
mod footprint;
mod groups;
mod plan;
mod pretend;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use self::{
    config::{Config, HostPolicy},
    footprint::{FOOTPRINT_PARAMETER, Footprint},
    groups::{instances, wishes},
    plan::{Refusal, Seat, Space, Target, Why, Wish, plan},
    pretend::pretend,
};
use crate::{
    device::{Affinity, Device, Gpu, Inventory},
    error::{Error, ErrorKind},
    model_config::{InstanceGroup, InstanceKind, ModelConfig},
};

/// Gives the instances of each model their devices, and keeps account of what is taken.
#[derive(Debug, Default)]
pub struct Placer {
    /// With nothing taken.
    spaces: Vec<Space>,
    /// Bytes by GPU.
    taken: Arc<Mutex<BTreeMap<u32, u64>>>,
    affinities: BTreeMap<String, Affinity>,
}

/// What a loaded model takes of the GPUs; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    taken: Arc<Mutex<BTreeMap<u32, u64>>>,
    shares: Vec<(u32, u64)>,
}

/// An instance that cannot be anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Its name.
    pub instance: String,
    /// Why.
    pub refusal: Refusal,
}

/// The GPUs of the inventory that may be used, with nothing taken.
///
/// # Errors
/// One line that names the setting that is wrong.
pub fn spaces(inventory: &Inventory, config: &Config) -> Result<Vec<Space>, String> {
    config.check_limits()?;
    let usable = config.usable_gpus(inventory);
    let gpus = inventory.gpus.iter();
    let space = |gpu: &Gpu| {
        let limit = config.gpu_limits.get(&gpu.ordinal).copied();
        Space {
            ordinal: gpu.ordinal,
            limit_byte_size: limit.map_or(gpu.memory_byte_size, |fraction| {
                share(gpu.memory_byte_size, fraction)
            }),
            is_limited: limit.is_some(),
            taken_byte_size: 0,
        }
    };
    Ok(gpus
        .filter(|gpu| usable.contains(&gpu.ordinal))
        .map(space)
        .collect())
}

impl Placer {
    /// For the devices of this machine.
    ///
    /// # Errors
    /// One line that names the setting that is wrong.
    pub fn new(inventory: &Inventory, config: &Config) -> Result<Self, String> {
        Ok(Self {
            spaces: spaces(inventory, config)?,
            taken: Arc::default(),
            affinities: config.affinities()?,
        })
    }

    /// Decides where the model's instances run, writes it into the configuration, and takes what
    /// they need. `engine_fault` says why the engine cannot use GPUs, if so.
    ///
    /// # Errors
    /// The first instance that cannot be anywhere; nothing is taken then.
    pub fn place(
        &self,
        config: &mut ModelConfig,
        version: u64,
        footprint: Footprint,
        engine_fault: Option<&str>,
    ) -> Result<Reservation, Unplaced> {
        let wishes = wishes(config, version, footprint.byte_size(), engine_fault);
        let mut taken = lock(&self.taken);
        let answers = plan(&with_taken(&self.spaces, &taken), &wishes);
        let names = instances(&config.instance_groups).map(|(name, ..)| name);
        let mut seats = Vec::new();
        for (instance, answer) in names.zip(answers) {
            match answer {
                Ok(seat) => seats.push(seat),
                Err(refusal) => return Err(Unplaced { instance, refusal }),
            }
        }
        let shares: Vec<_> = seats
            .iter()
            .zip(&wishes)
            .filter_map(|(seat, wish)| match seat.device {
                Device::Host => None,
                Device::Cuda(ordinal) => Some((ordinal, wish.byte_size)),
            })
            .collect();
        for &(ordinal, byte_size) in &shares {
            let sum = taken.entry(ordinal).or_default();
            *sum = sum.saturating_add(byte_size);
        }
        drop(taken);
        tell(config, version, &seats);
        self.tell_unknown_policies(config);
        groups::settle(config, &seats);
        Ok(Reservation {
            taken: Arc::clone(&self.taken),
            shares,
        })
    }

    /// How the threads of a group's instances on that device are bound, if they are.
    pub fn affinity(&self, group: &InstanceGroup, device: Device) -> Option<&Affinity> {
        let by_device = match (group.kind, device) {
            (InstanceKind::Model, _) => "model".to_owned(),
            (_, Device::Host) => "cpu".to_owned(),
            (_, Device::Cuda(ordinal)) => format!("gpu_{ordinal}"),
        };
        let name = group.host_policy.as_ref().unwrap_or(&by_device);
        self.affinities.get(name)
    }

    /// As in Triton, a policy without settings binds nothing; but it may be a slip.
    fn tell_unknown_policies(&self, config: &ModelConfig) {
        let named = config.instance_groups.iter();
        for policy in named.filter_map(|group| group.host_policy.as_ref()) {
            if !self.affinities.contains_key(policy) {
                tracing::warn!(
                    model = %config.name,
                    host_policy = %policy,
                    "an instance group names a host policy that this server has no settings for"
                );
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        for (ordinal, byte_size) in &self.shares {
            if let Some(sum) = taken.get_mut(ordinal) {
                *sum = sum.saturating_sub(*byte_size);
            }
        }
    }
}

/// Where instances are not where they were wanted, the log says so.
fn tell(config: &ModelConfig, version: u64, seats: &[Seat]) {
    let names = instances(&config.instance_groups).map(|(name, ..)| name);
    for (instance, seat) in names.zip(seats) {
        if let Why::Instead(refusal) = &seat.why {
            tracing::warn!(
                model = %config.name,
                version,
                instance,
                device = %seat.device,
                reason = %refusal,
                "an instance runs elsewhere than its configuration says"
            );
        }
    }
}

fn with_taken(spaces: &[Space], taken: &BTreeMap<u32, u64>) -> Vec<Space> {
    let with = |space: &Space| Space {
        taken_byte_size: taken.get(&space.ordinal).copied().unwrap_or(0),
        ..space.clone()
    };
    spaces.iter().map(with).collect()
}

fn lock(taken: &Mutex<BTreeMap<u32, u64>>) -> MutexGuard<'_, BTreeMap<u32, u64>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `fraction` (from 0 to 1) of `byte_size`.
fn share(byte_size: u64, fraction: f64) -> u64 {
    // A duration is the standard library's way from a fraction to a whole number.
    let billionths =
        Duration::try_from_secs_f64(fraction).map_or(0, |fraction| fraction.as_nanos());
    let scaled = u128::from(byte_size) * billionths / Duration::from_secs(1).as_nanos();
    u64::try_from(scaled).unwrap_or(byte_size)
}

impl fmt::Display for Unplaced {
    /// Triton's words, where a limit was set and is the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Refusal::Full {
                ordinal,
                needed,
                left,
                is_limited: true,
            } => write!(
                f,
                "can not create model '{}': memory limit set for GPU {ordinal} has exceeded, model \
                 loading is rejected. It takes about {needed} bytes and {left} are left",
                self.instance
            ),
            refusal => write!(
                f,
                "can not create model '{}': {refusal}; set the parameter 'device_fallback' to 'any' \
                 to let it run elsewhere",
                self.instance
            ),
        }
    }
}

impl std::error::Error for Unplaced {}

impl From<Unplaced> for Error {
    fn from(unplaced: Unplaced) -> Self {
        Self::new(ErrorKind::Unavailable, "placement", unplaced.to_string())
    }
}
