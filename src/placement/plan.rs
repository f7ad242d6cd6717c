//! Which instance runs on which device: a function of the devices' room and of what is asked for. No
//! lock, no clock, no file.
//!
//! What is already placed is part of the devices' room and is never moved, so a model's coming or
//! going changes nothing for the others. Instances that must be on one GPU come first; the others
//! follow, the larger first, each on the GPU with the fewest replicas of its model, and among those
//! on the one with most room.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{device::Device, model_config::Fallback};

/// One GPU, as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its ordinal.
    pub ordinal: u32,
    /// Bytes that models may take in all.
    pub limit_byte_size: u64,
    /// Whether that limit was set, rather than being all of the GPU's memory.
    pub is_limited: bool,
    /// Bytes that are taken.
    pub taken_byte_size: u64,
}

/// One instance that wants to be somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its model version; instances with the same are replicas, which are spread.
    pub model: Arc<str>,
    /// Where it wants to be.
    pub target: Target,
    /// Where it may go instead.
    pub fallback: Fallback,
    /// Bytes that it takes on a GPU.
    pub byte_size: u64,
    /// Why its engine cannot use GPUs on this machine, if so.
    pub engine_fault: Option<Arc<str>>,
}

/// Where an instance wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// On the CPU.
    Host,
    /// On the GPU with this ordinal.
    Gpu(u32),
    /// On whichever GPU has most room.
    AnyGpu,
}

/// Where an instance goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The device.
    pub device: Device,
    /// Why there.
    pub why: Why,
}

/// Why an instance is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its configuration says so.
    Configured,
    /// The GPU with most room.
    MostRoom,
    /// It could not be where it was wanted.
    Instead(Refusal),
}

/// Why an instance cannot be where it was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such GPU.
    Absent(u32),
    /// That GPU can no longer be used.
    Lost(u32),
    /// The GPU has no room.
    Full {
        /// Its ordinal.
        ordinal: u32,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are left.
        left: u64,
        /// Whether a limit was set for it.
        is_limited: bool,
    },
    /// No GPU has room.
    NoRoom {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that the emptiest one has left; `None` if there are no GPUs.
        most_left: Option<u64>,
    },
    /// The engine cannot use GPUs here.
    Engine(Arc<str>),
}

impl Refusal {
    /// The same, but of a GPU that is one of the lost it says so.
    pub(super) fn or_lost(self, lost: &BTreeSet<u32>) -> Self {
        match self {
            Self::Absent(ordinal) if lost.contains(&ordinal) => Self::Lost(ordinal),
            refusal => refusal,
        }
    }
}

/// Finds each wish a seat, in the wishes' order, or says why there is none.
pub fn plan(spaces: &[Space], wishes: &[Wish]) -> Vec<Result<Seat, Refusal>> {
    let mut plan = Plan {
        spaces: spaces.to_vec(),
        replicas: BTreeMap::new(),
    };
    let mut seats: Vec<_> = wishes.iter().map(|_| None).collect();
    for &index in &order(wishes) {
        if let (Some(wish), Some(seat)) = (wishes.get(index), seats.get_mut(index)) {
            *seat = Some(plan.seat(wish));
        }
    }
    seats.into_iter().flatten().collect()
}

/// Who chooses before whom.
fn order(wishes: &[Wish]) -> Vec<usize> {
    let rank = |wish: &Wish| match (wish.target, wish.fallback) {
        (Target::Host, _) => (0, Reverse(0)),
        (Target::Gpu(_), Fallback::None | Fallback::Engine) => (1, Reverse(0)),
        (Target::Gpu(_), Fallback::Gpu | Fallback::Any) => (2, Reverse(wish.byte_size)),
        (Target::AnyGpu, _) => (3, Reverse(wish.byte_size)),
    };
    let mut order: Vec<_> = (0..wishes.len()).collect();
    order.sort_by_key(|&index| wishes.get(index).map(rank));
    order
}

struct Plan {
    spaces: Vec<Space>,
    /// By model and GPU.
    replicas: BTreeMap<(Arc<str>, u32), usize>,
}

impl Plan {
    fn seat(&mut self, wish: &Wish) -> Result<Seat, Refusal> {
        if wish.target == Target::Host {
            return Ok(host(Why::Configured));
        }
        if let Some(fault) = &wish.engine_fault {
            let refusal = Refusal::Engine(Arc::clone(fault));
            return match wish.fallback {
                Fallback::Engine | Fallback::Any => Ok(host(Why::Instead(refusal))),
                Fallback::None | Fallback::Gpu => Err(refusal),
            };
        }
        let Target::Gpu(ordinal) = wish.target else {
            return self.any(wish, Why::MostRoom);
        };
        match (self.take(ordinal, wish), wish.fallback) {
            (Ok(()), _) => Ok(gpu(ordinal, Why::Configured)),
            (Err(refusal), Fallback::Gpu | Fallback::Any) => self.any(wish, Why::Instead(refusal)),
            (Err(refusal), Fallback::None | Fallback::Engine) => Err(refusal),
        }
    }

    /// The best GPU that has room, or the CPU, if it may be.
    fn any(&mut self, wish: &Wish, why: Why) -> Result<Seat, Refusal> {
        let replicas = |ordinal| {
            let key = (Arc::clone(&wish.model), ordinal);
            self.replicas.get(&key).copied().unwrap_or(0)
        };
        let best = self
            .spaces
            .iter()
            .filter(|space| space.left() >= wish.byte_size)
            .min_by_key(|space| {
                (
                    replicas(space.ordinal),
                    Reverse(space.left()),
                    space.ordinal,
                )
            })
            .map(|space| space.ordinal);
        if let Some(ordinal) = best {
            self.take(ordinal, wish)?;
            return Ok(gpu(ordinal, why));
        }
        let refusal = match why {
            Why::Instead(refusal) if wish.fallback == Fallback::Any => refusal,
            _ => Refusal::NoRoom {
                needed: wish.byte_size,
                most_left: self.spaces.iter().map(Space::left).max(),
            },
        };
        match wish.fallback {
            Fallback::Any => Ok(host(Why::Instead(refusal))),
            _ => Err(refusal),
        }
    }

    fn take(&mut self, ordinal: u32, wish: &Wish) -> Result<(), Refusal> {
        let space = self
            .spaces
            .iter_mut()
            .find(|space| space.ordinal == ordinal)
            .ok_or(Refusal::Absent(ordinal))?;
        let left = space.left();
        if left < wish.byte_size {
            return Err(Refusal::Full {
                ordinal,
                needed: wish.byte_size,
                left,
                is_limited: space.is_limited,
            });
        }
        space.taken_byte_size = space.taken_byte_size.saturating_add(wish.byte_size);
        *self
            .replicas
            .entry((Arc::clone(&wish.model), ordinal))
            .or_default() += 1;
        Ok(())
    }
}

impl Space {
    /// Bytes that are not taken.
    pub fn left(&self) -> u64 {
        self.limit_byte_size.saturating_sub(self.taken_byte_size)
    }
}

fn host(why: Why) -> Seat {
    Seat {
        device: Device::Host,
        why,
    }
}

fn gpu(ordinal: u32, why: Why) -> Seat {
    Seat {
        device: Device::Cuda(ordinal),
        why,
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::MostRoom => f.write_str("most room"),
            Self::Instead(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(ordinal) => write!(f, "GPU {ordinal} is not there"),
            Self::Lost(ordinal) => write!(f, "GPU {ordinal} was lost"),
            Self::Full {
                ordinal,
                needed,
                left,
                ..
            } => write!(f, "GPU {ordinal} has {left} of {needed} bytes left"),
            Self::NoRoom {
                needed,
                most_left: Some(left),
            } => write!(f, "no GPU has {needed} bytes left, the most is {left}"),
            Self::NoRoom {
                most_left: None, ..
            } => f.write_str("there are no GPUs"),
            Self::Engine(fault) => f.write_str(fault),
        }
    }
}
