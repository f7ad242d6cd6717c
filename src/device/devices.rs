//! Devices in use: opened when the first instance is put on one, with what all its instances share,
//! and open until the server ends. What an instance has for itself is its [`super::Lane`].

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::{
    Device, Gpu, Inventory, PinnedPool,
    cuda::{Context, DeviceError, Kernels},
    poller::Poller,
    xid,
};
use crate::telemetry::nvml::Trouble;

/// What each device that is used gets.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of pinned host memory for each GPU. What does not fit goes through ordinary memory,
    /// which is slower.
    pub pinned_memory_pool_byte_size: usize,
    /// Microseconds for which a GPU's poller looks for the end of a batch without a break, before it
    /// sleeps between looks.
    pub completion_spin_us: u32,
}

impl Config {
    const DEFAULT: Self = Self {
        pinned_memory_pool_byte_size: 256 << 20,
        completion_spin_us: 50,
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The devices of this machine.
#[derive(Debug, Default)]
pub struct Devices {
    config: Config,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    gpu: Gpu,
    /// Why it is not to be used, from when that is known; set while `open` is locked.
    given_up: OnceLock<DeviceError>,
    open: Mutex<Option<Arc<OpenDevice>>>,
}

impl Devices {
    /// Those of the inventory; opens none.
    pub fn new(inventory: &Inventory, config: &Config) -> Arc<Self> {
        let slot = |gpu: &Gpu| Slot {
            gpu: gpu.clone(),
            given_up: OnceLock::new(),
            open: Mutex::default(),
        };
        Arc::new(Self {
            config: config.clone(),
            slots: inventory.gpus.iter().map(slot).collect(),
        })
    }

    /// Those of a machine that has none.
    #[cfg(test)]
    pub(crate) fn none() -> &'static Self {
        static NONE: Devices = Devices {
            config: Config::DEFAULT,
            slots: Vec::new(),
        };
        &NONE
    }

    /// The device, opened if nobody used it before. Takes about a second then.
    ///
    /// # Errors
    /// If there is no such device, it cannot be used, or it was lost.
    pub fn open(&self, ordinal: u32) -> Result<Arc<OpenDevice>, DeviceError> {
        let slot = self.slots.iter().find(|slot| slot.gpu.ordinal == ordinal);
        let slot = slot.ok_or_else(|| DeviceError::Failed {
            device: Device::Cuda(ordinal),
            call: "open",
            code: "no such device".to_owned(),
        })?;
        // Held while it is opened: whoever else wants it waits, and others open other devices.
        let mut open = slot.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = slot.given_up.get() {
            return Err(error.clone());
        }
        let device = match open.as_ref() {
            Some(device) => Arc::clone(device),
            None => {
                let device = OpenDevice::new(&slot.gpu, &self.config)?;
                Arc::clone(open.insert(device))
            }
        };
        match device.lost() {
            Some(error) => Err(error.clone()),
            None => Ok(device),
        }
    }

    /// Hears what has happened to the GPU with that UUID; a part of it shares its fate. If it is of no more use to anybody, it is not
    /// used again: its instances end, and batches that are under way on it fail.
    pub fn hear(&self, uuid: &str, trouble: Trouble) {
        let why = match trouble {
            Trouble::Unreachable => "the driver cannot reach it any more".to_owned(),
            Trouble::Xid(number) => match xid::fatal(number) {
                Some(meaning) => format!("Xid {number}, {meaning}"),
                None => return,
            },
        };
        for slot in self.slots.iter().filter(|slot| slot.gpu.is_of(uuid)) {
            slot.give_up(&why);
        }
    }

    /// Ordinals of those that can no longer be used.
    pub fn lost(&self) -> Vec<u32> {
        let is_lost = |slot: &&Slot| {
            let open = slot.open.lock().unwrap_or_else(PoisonError::into_inner);
            let in_use = open.as_ref().and_then(|device| device.lost());
            slot.given_up.get().or(in_use).is_some()
        };
        let lost = self.slots.iter().filter(is_lost);
        lost.map(|slot| slot.gpu.ordinal).collect()
    }

    /// Those that were opened, in the order of their ordinals.
    pub fn opened(&self) -> Vec<Arc<OpenDevice>> {
        let open = |slot: &Slot| {
            slot.open
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        self.slots.iter().filter_map(open).collect()
    }
}

impl Slot {
    fn give_up(&self, why: &str) {
        let error = DeviceError::GivenUp {
            device: Device::Cuda(self.gpu.ordinal),
            why: why.to_owned(),
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.given_up.set(error.clone()).is_err() {
            return;
        }
        tracing::error!(gpu_uuid = %self.gpu.uuid, "{error}");
        if let Some(device) = open.as_ref() {
            device.context.give_up(error);
        }
    }
}

/// A device in use.
#[derive(Debug)]
pub struct OpenDevice {
    uuid: String,
    context: Arc<Context>,
    pinned: Arc<PinnedPool>,
    kernels: Option<Arc<Kernels>>,
    poller: Poller,
}

impl OpenDevice {
    fn new(gpu: &Gpu, config: &Config) -> Result<Arc<Self>, DeviceError> {
        let context = Context::open(gpu.ordinal)?;
        let byte_size = config.pinned_memory_pool_byte_size.max(1);
        let pinned = PinnedPool::new(&context, byte_size, gpu.numa_node)?;
        // What they do can be done without them.
        let kernels = Kernels::load(&context)
            .inspect_err(|error| tracing::warn!(%error, "the kernels cannot be used"))
            .ok();
        let poller = Poller::start(&context, config.completion_spin_us)?;
        tracing::info!(
            device = %context.device(),
            pinned_byte_size = byte_size,
            numa_node = gpu.numa_node,
            "device opened"
        );
        Ok(Arc::new(Self {
            uuid: gpu.uuid.clone(),
            context,
            pinned,
            kernels,
            poller,
        }))
    }

    /// Its UUID, as the inventory has it.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Its context.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The error after which it can no longer be used, if there was one.
    pub fn lost(&self) -> Option<&DeviceError> {
        self.context.lost()
    }

    /// Host memory near it.
    pub fn pinned(&self) -> &Arc<PinnedPool> {
        &self.pinned
    }

    /// The house's kernels, if they can be used on it.
    pub fn kernels(&self) -> Option<&Arc<Kernels>> {
        self.kernels.as_ref()
    }

    pub(super) fn poller(&self) -> &Poller {
        &self.poller
    }
}
