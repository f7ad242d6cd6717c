//! What one instance takes of a device, by what it is for, and how long it has kept the device busy.
//! Others may look at it while the instance lives, and after.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{DevicePool, OpenDevice};

/// What an instance holds device memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The model's weights.
    Weights,
    /// What the engine computes with.
    Workspace,
    /// CUDA graphs.
    Graphs,
    /// Inputs and outputs of batches.
    Io,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Weights, Self::Workspace, Self::Graphs, Self::Io];

    /// Its name as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Workspace => "workspace",
            Self::Graphs => "graphs",
            Self::Io => "io",
        }
    }
}

/// One instance's account.
#[derive(Debug)]
pub struct Account {
    device: Arc<OpenDevice>,
    /// Where memory for inputs and outputs comes from; gone when the instance is.
    pool: Weak<DevicePool>,
    /// In bytes, by purpose; that of inputs and outputs the pool knows.
    held: [AtomicU64; 4],
    busy_nanoseconds: AtomicU64,
}

/// Bytes on an account, taken off it on drop.
#[derive(Debug)]
pub struct Entry {
    account: Arc<Account>,
    purpose: Purpose,
    byte_size: u64,
}

impl Account {
    pub(super) fn new(device: &Arc<OpenDevice>, pool: &Arc<DevicePool>) -> Arc<Self> {
        Arc::new(Self {
            device: Arc::clone(device),
            pool: Arc::downgrade(pool),
            held: Default::default(),
            busy_nanoseconds: AtomicU64::new(0),
        })
    }

    /// The device.
    pub fn device(&self) -> &Arc<OpenDevice> {
        &self.device
    }

    /// Notes that the instance holds so many bytes, until the entry is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>, purpose: Purpose, byte_size: usize) -> Entry {
        let byte_size = u64::try_from(byte_size).unwrap_or(u64::MAX);
        self.held[purpose as usize].fetch_add(byte_size, Relaxed);
        Entry {
            account: Arc::clone(self),
            purpose,
            byte_size,
        }
    }

    /// Notes that the device has computed for the instance for so long.
    pub fn compute(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// Bytes that it holds for that purpose now.
    pub fn byte_size(&self, purpose: Purpose) -> u64 {
        let held = self.held[purpose as usize].load(Relaxed);
        let pool = self.pool.upgrade().filter(|_| purpose == Purpose::Io);
        let pooled = pool.map_or(0, |pool| pool.usage().byte_size);
        held.saturating_add(u64::try_from(pooled).unwrap_or(u64::MAX))
    }

    /// Bytes that it holds now, for whatever purpose.
    pub fn total_byte_size(&self) -> u64 {
        let byte_sizes = Purpose::ALL.map(|purpose| self.byte_size(purpose));
        byte_sizes.into_iter().fold(0, u64::saturating_add)
    }

    /// For how long the device has computed for it.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanoseconds.load(Relaxed))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.account.held[self.purpose as usize].fetch_sub(self.byte_size, Relaxed);
    }
}
