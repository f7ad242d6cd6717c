//! What a device does with work of the kinds that batches are made of, and how long it takes: copies of
//! every size from pinned and from ordinary memory, many small copies against one kernel, many launches
//! against one graph. Each is also held against what should come out. Compares nothing with what other
//! devices take.

mod copies;
mod gathers;
mod graphs;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Config, Device, DevicePool, Devices, Inventory, PinnedPool,
    cuda::{Context, DeviceError, DeviceSpan, Kernels, Priority, Stream, Work},
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The largest copy, in bytes.
    pub largest_byte_size: usize,
    /// How often each is measured; what is told is the median.
    pub rounds: u32,
}

impl Extent {
    /// Copies of up to 64 MiB.
    pub const WHOLE: Self = Self {
        largest_byte_size: 64 << 20,
        rounds: 15,
    };
    /// Enough to see whether it is right.
    pub const SHORT: Self = Self {
        largest_byte_size: 256 << 10,
        rounds: 3,
    };
}

/// What one device did. Times are in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The device, as the driver counts them.
    pub ordinal: u32,
    /// One copy, by its size.
    pub copies: Vec<Copied>,
    /// Rows of a batch brought to the device, by their number and size.
    pub gathers: Vec<Gathered>,
    /// Launches, by their number.
    pub graphs: Vec<Launched>,
}

/// One copy of so many bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Copied {
    /// How many bytes.
    pub byte_size: usize,
    /// To the device from pinned memory.
    pub pinned_to_device_us: f64,
    /// To the device from ordinary memory.
    pub pageable_to_device_us: f64,
    /// From the device to pinned memory.
    pub pinned_to_host_us: f64,
    /// From the device to ordinary memory.
    pub pageable_to_host_us: f64,
}

/// So many rows from different places in pinned memory to one place on the device.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gathered {
    /// How many rows.
    pub rows: usize,
    /// Bytes of each.
    pub row_byte_size: usize,
    /// By a copy for each.
    pub copies_us: f64,
    /// By one kernel that reads them over the bus.
    pub kernel_us: f64,
}

/// So many small pieces of work, one after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Launched {
    /// How many.
    pub count: usize,
    /// Each given to the stream.
    pub plain_us: f64,
    /// Given to it as one graph.
    pub graph_us: f64,
}

/// Why a device could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The driver said so.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// What came out is not what should have.
    #[error("{what} came out wrong on {device}")]
    Wrong {
        /// What was tried.
        what: &'static str,
        /// The device.
        device: Device,
    },
}

/// Tries and measures each device of the inventory, one after the other.
///
/// # Errors
/// For each device, why it could not be, or what is wrong with it.
pub fn measure(inventory: &Inventory, extent: Extent) -> Vec<Result<Measured, MeasureError>> {
    let config = Config {
        pinned_memory_pool_byte_size: Bench::pinned_byte_size(extent),
        ..Config::default()
    };
    let devices = Devices::new(inventory, &config);
    let measured = inventory.gpus.iter().map(|gpu| {
        let device = devices.open(gpu.ordinal)?;
        let bench = Bench::new(device.context(), device.pinned(), extent)?;
        Ok(Measured {
            ordinal: gpu.ordinal,
            copies: copies::measure(&bench)?,
            gathers: gathers::measure(&bench)?,
            graphs: graphs::measure(&bench)?,
        })
    });
    measured.collect()
}

/// A device, and what is tried on it.
struct Bench {
    context: Arc<Context>,
    stream: Arc<Stream>,
    kernels: Arc<Kernels>,
    pinned: Arc<PinnedPool>,
    device: Arc<DevicePool>,
    extent: Extent,
}

impl Bench {
    fn new(
        context: &Arc<Context>,
        pinned: &Arc<PinnedPool>,
        extent: Extent,
    ) -> Result<Self, DeviceError> {
        Ok(Self {
            stream: Stream::new(context, Priority::Normal)?,
            kernels: Kernels::load(context)?,
            pinned: Arc::clone(pinned),
            device: DevicePool::new(context, Self::pinned_byte_size(extent))?,
            context: Arc::clone(context),
            extent,
        })
    }

    /// Enough for the largest copy there and back, and for the rows of a batch.
    fn pinned_byte_size(extent: Extent) -> usize {
        extent.largest_byte_size.saturating_mul(4).max(16 << 20)
    }

    /// The median of what one of `count` repetitions takes, over several rounds, in microseconds.
    fn time(
        &self,
        count: u32,
        mut give: impl FnMut(&mut Work) -> Result<(), DeviceError>,
    ) -> Result<f64, DeviceError> {
        let mut rounds = Vec::new();
        // The first is not counted: it pays for what is done once.
        for round in 0..=self.extent.rounds {
            let begin = Instant::now();
            let mut work = Work::new(&self.context)?;
            for _ in 0..count {
                give(&mut work)?;
            }
            drop(work.finish()?.wait()?);
            if round > 0 {
                rounds.push(begin.elapsed() / count.max(1));
            }
        }
        rounds.sort_unstable();
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
        Ok(microseconds(median))
    }

    fn check(&self, is_right: bool, what: &'static str) -> Result<(), MeasureError> {
        let device = self.context.device();
        is_right
            .then_some(())
            .ok_or(MeasureError::Wrong { what, device })
    }

    /// What a span holds.
    fn read(&self, span: &DeviceSpan, byte_size: usize) -> Result<Vec<u8>, DeviceError> {
        let mut work = Work::new(&self.context)?;
        work.download(&self.stream, span, self.pinned.take(byte_size))?;
        let landed = work.finish()?.wait()?;
        Ok(landed.first().map(|slab| slab.to_vec()).unwrap_or_default())
    }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Bytes that differ from their neighbours, and from those of another seed.
fn pattern(byte_size: usize, seed: usize) -> impl Iterator<Item = u8> {
    (0..byte_size).map(move |index| {
        let [low, high, ..] = (index ^ seed.wrapping_mul(0x9e37)).to_le_bytes();
        low ^ high.rotate_left(3)
    })
}
