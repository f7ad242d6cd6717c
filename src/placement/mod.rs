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
    collections::{BTreeMap, BTreeSet},
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
    measured: Arc<Mutex<Measured>>,
    /// GPUs that are of no more use.
    lost: Mutex<BTreeSet<u32>>,
    affinities: BTreeMap<String, Affinity>,
}

/// What a loaded model takes of the GPUs; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    taken: Arc<Mutex<BTreeMap<u32, u64>>>,
    measured: Arc<Mutex<Measured>>,
    /// What a measurement is remembered for; `None` where none is needed.
    estimate: Option<Estimate>,
    shares: Vec<(u32, u64)>,
}

/// A model, its version and the estimate of what an instance takes: another estimate means other files.
type Estimate = (String, u64, u64);
/// What the largest instance took.
type Measured = BTreeMap<Estimate, u64>;

/// So many models are remembered.
const MEASURED_LIMIT: usize = 4096;

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
            measured: Arc::default(),
            lost: Mutex::default(),
            affinities: config.affinities()?,
        })
    }

    /// Puts nothing more on these GPUs.
    pub fn leave_out(&self, ordinals: impl IntoIterator<Item = u32>) {
        lock(&self.lost).extend(ordinals);
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
        let estimate = match footprint {
            Footprint::Declared(_) => None,
            Footprint::Estimated(byte_size) => Some((config.name.clone(), version, byte_size)),
        };
        let known = estimate.as_ref().and_then(|estimate| {
            let measured = lock(&self.measured);
            measured.get(estimate).copied()
        });
        let byte_size = known.unwrap_or(footprint.byte_size());
        let wishes = wishes(config, version, byte_size, engine_fault);
        let mut taken = lock(&self.taken);
        let lost = lock(&self.lost).clone();
        let mut spaces = with_taken(&self.spaces, &taken);
        spaces.retain(|space| !lost.contains(&space.ordinal));
        let answers = plan(&spaces, &wishes);
        let names = instances(&config.instance_groups).map(|(name, ..)| name);
        let mut seats = Vec::new();
        for (instance, answer) in names.zip(answers) {
            match answer {
                Ok(Seat { device, why }) => seats.push(Seat {
                    device,
                    why: match why {
                        Why::Instead(refusal) => Why::Instead(refusal.or_lost(&lost)),
                        why => why,
                    },
                }),
                Err(refusal) => {
                    let refusal = refusal.or_lost(&lost);
                    return Err(Unplaced { instance, refusal });
                }
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
        take(&mut taken, &shares);
        drop(taken);
        tell(config, version, &seats);
        self.tell_unknown_policies(config);
        groups::settle(config, &seats);
        Ok(Reservation {
            taken: Arc::clone(&self.taken),
            measured: Arc::clone(&self.measured),
            estimate,
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

impl Reservation {
    /// Replaces an estimate by what the instances took when they were loaded, as ordinals and bytes, one
    /// for each instance on a GPU; the next load of the same files is planned with it. Does nothing if
    /// that is not known of all of them, or the configuration says what they take.
    pub fn measure(&mut self, shares: Vec<(u32, u64)>) {
        let largest = shares.iter().map(|(_, byte_size)| *byte_size).max();
        let (Some(largest), Some(estimate)) = (largest, &self.estimate) else {
            return;
        };
        if shares.len() != self.shares.len() {
            return;
        }
        let mut taken = lock(&self.taken);
        give_back(&mut taken, &self.shares);
        take(&mut taken, &shares);
        drop(taken);
        let mut measured = lock(&self.measured);
        if measured.len() >= MEASURED_LIMIT {
            measured.pop_first();
        }
        measured.insert(estimate.clone(), largest);
        drop(measured);
        self.shares = shares;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        give_back(&mut lock(&self.taken), &self.shares);
    }
}

fn take(taken: &mut BTreeMap<u32, u64>, shares: &[(u32, u64)]) {
    for &(ordinal, byte_size) in shares {
        let sum = taken.entry(ordinal).or_default();
        *sum = sum.saturating_add(byte_size);
    }
}

fn give_back(taken: &mut BTreeMap<u32, u64>, shares: &[(u32, u64)]) {
    for (ordinal, byte_size) in shares {
        if let Some(sum) = taken.get_mut(ordinal) {
            *sum = sum.saturating_sub(*byte_size);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
