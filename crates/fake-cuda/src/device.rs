//! One pretend device: its memory, its engines, what goes wrong with it, and whether it still lives.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    code::Code,
    counters::{self, Counter, DeviceCounters},
    engine::Engine,
    fault::Faults,
    memory,
    settings::Settings,
    stream::Stream,
};

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) ordinal: usize,
    pub(crate) memory_byte_size: u64,
    pub(crate) is_mig: bool,
    pub(crate) numa_node: Option<usize>,
    /// Kernels, and setting of memory.
    pub(crate) compute: Engine,
    pub(crate) upload: Engine,
    pub(crate) download: Engine,
    pub(crate) default_stream: OnceLock<Arc<Stream>>,
    /// Errors that NVML tells of.
    pub(crate) xids: Xids,
    faults: Faults,
    /// Errors that are still to come.
    due: Mutex<Vec<(u64, PathBuf)>>,
    counters: &'static DeviceCounters,
    /// The error that every call answers with, once there is one.
    sticky: AtomicI32,
    operations: AtomicU64,
    allocations: AtomicU64,
    /// How often the primary context is retained.
    retained: AtomicU64,
    sampled: Mutex<(Instant, u64)>,
}

impl Device {
    pub(crate) fn new(
        ordinal: usize,
        settings: &Settings,
        faults: Faults,
        counters: &'static DeviceCounters,
    ) -> Self {
        Self {
            ordinal,
            memory_byte_size: settings.memory_byte_size,
            is_mig: settings.mig.contains(&ordinal),
            numa_node: ordinal.checked_rem(settings.numa_node_count),
            compute: Engine::default(),
            upload: Engine::default(),
            download: Engine::default(),
            default_stream: OnceLock::new(),
            xids: Xids::default(),
            due: Mutex::new(faults.xids.clone()),
            faults,
            counters,
            sticky: AtomicI32::new(0),
            operations: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
            retained: AtomicU64::new(0),
            sampled: Mutex::new((Instant::now(), 0)),
        }
    }

    pub(crate) fn name(&self) -> String {
        let part = if self.is_mig { " MIG 1g.10gb" } else { "" };
        format!("Fake GPU {}{part}", self.ordinal)
    }

    /// The sixteen bytes of the UUID by which the driver knows it: those of the GPU, or of its only part
    /// if it is divided.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        let mut uuid = self.gpu_uuid();
        uuid[8] = u8::from(self.is_mig);
        uuid
    }

    /// Those of the whole GPU: `FAKECUDA` and the ordinal.
    pub(crate) fn gpu_uuid(&self) -> [u8; 16] {
        let mut uuid = *b"FAKECUDA\0\0\0\0\0\0\0\0";
        uuid[15] = self.ordinal as u8;
        uuid
    }

    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        counters::add(self.counters, counter, amount);
    }

    pub(crate) fn subtract(&self, counter: Counter, amount: u64) {
        counters::subtract(self.counters, counter, amount);
    }

    pub(crate) fn value(&self, counter: Counter) -> u64 {
        counters::value(self.counters, counter)
    }

    /// # Errors
    /// The sticky error.
    pub(crate) fn check(&self) -> Result<(), Code> {
        match self.sticky.load(Ordering::SeqCst) {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }

    pub(crate) fn retain(&self) -> Result<(), Code> {
        self.check()?;
        if self.faults.no_context {
            return Err(Code::UNKNOWN);
        }
        self.retained.fetch_add(1, Ordering::SeqCst);
        self.add(Counter::Contexts, 1);
        Ok(())
    }

    pub(crate) fn release(&self) -> Result<(), Code> {
        self.retained
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            })
            .map_err(|_| Code::INVALID_CONTEXT)?;
        self.subtract(Counter::Contexts, 1);
        Ok(())
    }

    pub(crate) fn has_context(&self) -> bool {
        self.retained.load(Ordering::SeqCst) > 0
    }

    /// Takes memory off what is free.
    pub(crate) fn charge(&self, byte_size: u64) -> Result<(), Code> {
        let number = self.allocations.fetch_add(1, Ordering::SeqCst);
        if self
            .faults
            .out_of_memory_after
            .is_some_and(|after| number >= after)
        {
            return Err(Code::OUT_OF_MEMORY);
        }
        let charge = memory::charge(byte_size);
        self.add(Counter::UsedBytes, charge);
        if self.value(Counter::UsedBytes) > self.memory_byte_size {
            self.subtract(Counter::UsedBytes, charge);
            return Err(Code::OUT_OF_MEMORY);
        }
        self.add(Counter::Allocations, 1);
        Ok(())
    }

    /// An operation of a stream is about to be done.
    ///
    /// # Errors
    /// If the device is dead, or dies of it.
    pub(crate) fn operate(&self) -> Result<(), Code> {
        self.check()?;
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let worn = self.faults.dies_after.is_some_and(|after| number >= after);
        let killed = || {
            self.faults
                .dies_when
                .as_ref()
                .is_some_and(|file| file.exists())
        };
        if worn || killed() {
            self.die(Code::ECC_UNCORRECTABLE);
        }
        self.check()
    }

    /// From now on every call fails with `code`.
    pub(crate) fn die(&self, code: Code) {
        let first = self
            .sticky
            .compare_exchange(0, code.0, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.xids.push(match code {
                Code::ECC_UNCORRECTABLE => 48,
                Code::ILLEGAL_ADDRESS => 31,
                _ => 13,
            });
        }
    }

    /// The next error that NVML tells of.
    pub(crate) fn next_xid(&self) -> Option<u64> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.retain(|(number, file)| {
            let is_due = file.exists();
            if is_due {
                self.xids.push(*number);
            }
            !is_due
        });
        self.xids.pop()
    }

    /// Whether NVML reaches it.
    pub(crate) fn is_reachable(&self) -> bool {
        let file = self.faults.unreachable_when.as_ref();
        !file.is_some_and(|file| file.exists())
    }

    /// How busy the compute engine was since the last time that this was asked, in percent.
    pub(crate) fn utilization(&self) -> u32 {
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, busy) = (Instant::now(), self.value(Counter::BusyNanoseconds));
        let elapsed = now.duration_since(sampled.0).as_nanos().max(1);
        let worked = u128::from(busy.saturating_sub(sampled.1));
        *sampled = (now, busy);
        (worked * 100 / elapsed).min(100) as u32
    }
}

/// Xid events that nobody has read yet.
#[derive(Debug, Default)]
pub(crate) struct Xids(Mutex<Vec<u64>>);

impl Xids {
    fn push(&self, number: u64) {
        self.numbers().push(number);
    }

    /// The oldest.
    pub(crate) fn pop(&self) -> Option<u64> {
        let mut numbers = self.numbers();
        (!numbers.is_empty()).then(|| numbers.remove(0))
    }

    fn numbers(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
