//! Batches on a device: how their tensors come there and back, the same for every backend that
//! computes on one.

use std::{num::NonZero, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    BackendError, Batch, DeviceExecutor, LoadSpec, graphs,
    transfer::{self, unplaced},
};
use crate::{
    device::{
        Lane, LaneConfig, class_byte_size,
        cuda::{DeviceSpan, Landed, Priority, Work},
    },
    model_config::{ModelConfig, OutputSpec},
    proto::inference::model_optimization_policy::ModelPriority,
    tensor::{Buffer, Datatype, Memory, Shape, Tensor},
};

/// A batch that a device was given.
#[derive(Debug)]
pub struct Enqueued {
    /// What the device's streams were given.
    pub work: Work,
    /// What is to be made of what they bring.
    pub landing: Landing,
}

/// Rows of an output that are to be written to a device's memory.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The output's index.
    pub output: usize,
    /// Which rows of the batch.
    pub rows: Range<usize>,
    /// Where they go. Once they have landed: exactly the bytes that they are, or `None` if they could
    /// not be written there, and are on the host.
    pub destination: Option<Buffer>,
}

/// Where a batch's outputs go.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Indices of the outputs that are read on the host.
    pub on_host: SmallVec<[usize; 4]>,
    /// What is written to memory of devices.
    pub deliveries: Vec<Delivery>,
}

/// Outputs that are on their way.
#[derive(Debug)]
pub struct Landing {
    batch: Batch,
    /// Indices of the outputs that are downloaded, in that order.
    downloads: SmallVec<[usize; 4]>,
    deliveries: Vec<Delivery>,
}

/// What has landed.
#[derive(Debug)]
pub struct Executed {
    /// The batch. Outputs that are read on the host are there, others still on the device.
    pub batch: Batch,
    /// As they were asked for, in that order.
    pub deliveries: Vec<Delivery>,
    /// How long the device took.
    pub times: DeviceTimes,
}

impl Landing {
    /// The executed batch.
    pub fn land(mut self, landed: Landed) -> Executed {
        for (index, slab) in self.downloads.into_iter().zip(landed.slabs) {
            if let Some(Some(output)) = self.batch.outputs.get_mut(index) {
                output.data = Buffer::Host(slab.freeze());
            }
        }
        let times = match landed.times[..] {
            [input, infer, ..] => DeviceTimes { input, infer },
            _ => DeviceTimes::default(),
        };
        Executed {
            batch: self.batch,
            deliveries: self.deliveries,
            times,
        }
    }
}

/// A device's time for one batch; what is left until it has landed is that of its outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTimes {
    /// Until the inputs were there and the batches ahead were computed.
    pub input: Duration,
    /// The computation alone.
    pub infer: Duration,
}

/// Gives the device the batch: its inputs, what the executor does with them, and the way back of its
/// outputs. Nothing is waited for.
///
/// # Errors
/// If the device has no memory for it, the executor fails, or the device is lost.
pub fn enqueue(
    executor: &mut dyn DeviceExecutor,
    mut batch: Batch,
    routes: Routes,
) -> Result<Enqueued, BackendError> {
    let lane = Arc::clone(executor.lane());
    let mut work = Work::new(lane.device().context())?;
    work.mark(lane.upload())?;
    let slot = executor.graphs().slot(&batch);
    match &slot {
        Some(slot) => slot.upload(&lane, &mut work, &batch)?,
        None => {
            for input in &mut batch.inputs {
                let data = &input.tensor.data;
                input.tensor.data = match executor.reads_on_host(input.index) {
                    true => Buffer::Host(on_host(data)?),
                    false => transfer::upload(&lane, &mut work, data)?,
                };
            }
        }
    }
    work.order(lane.upload(), lane.compute())?;
    work.mark(lane.compute())?;
    executor.prepare(batch.batch_size);
    match &slot {
        Some(slot) => slot.replay(&lane, &mut work, &mut batch)?,
        None => executor.enqueue(&mut batch, &mut work)?,
    }
    work.mark(lane.compute())?;
    work.order(lane.compute(), lane.download())?;
    let Routes {
        mut on_host,
        mut deliveries,
    } = routes;
    transfer::deliver(&lane, &mut work, &batch, &mut deliveries)?;
    for delivery in &deliveries {
        if delivery.destination.is_none() && !on_host.contains(&delivery.output) {
            on_host.push(delivery.output);
        }
    }
    let mut downloads = SmallVec::new();
    for index in on_host {
        let output = batch.outputs.get(index).and_then(Option::as_ref);
        if let Some(span) = output.and_then(|tensor| device_span(&tensor.data)) {
            let slab = lane.device().pinned().take(span.byte_size());
            work.download(lane.download(), span, slab)?;
            downloads.push(index);
        }
    }
    let landing = Landing {
        batch,
        downloads,
        deliveries,
    };
    Ok(Enqueued { work, landing })
}

/// Runs one batch and waits for it: for warm-up.
///
/// # Errors
/// As [`enqueue`], or if the device is lost while it works.
pub fn execute_alone(
    executor: &mut dyn DeviceExecutor,
    batch: &mut Batch,
) -> Result<(), BackendError> {
    let routes = Routes {
        on_host: batch.wanted.clone(),
        deliveries: Vec::new(),
    };
    let Enqueued { work, landing } = enqueue(executor, batch.clone(), routes)?;
    *batch = landing.land(work.finish()?.land()?).batch;
    Ok(())
}

/// A buffer's bytes where the host can read them: what is on a device is fetched, and waited for.
///
/// # Errors
/// If the device is lost.
pub fn on_host(data: &Buffer) -> Result<Bytes, BackendError> {
    match device_span(data) {
        Some(span) => Ok(span.fetch()?),
        None => data.to_host_bytes().ok_or_else(unplaced),
    }
}

/// The device's memory that a buffer is, if it is any.
pub fn device_span(data: &Buffer) -> Option<&DeviceSpan> {
    match data {
        Buffer::Host(_) => None,
        Buffer::Foreign(memory) => memory.as_any().downcast_ref(),
    }
}

/// A lane on that device, with memory for all batches that can be under way.
///
/// # Errors
/// If the device cannot be used, or has not so much memory left.
pub(super) fn lane(spec: &LoadSpec<'_>, ordinal: u32) -> Result<Arc<Lane>, BackendError> {
    let device = spec.devices.open(ordinal)?;
    let optimization = spec.config.proto.optimization.clone().unwrap_or_default();
    let config = LaneConfig {
        byte_size: staging_byte_size(spec.config)?,
        priority: match optimization.priority() {
            ModelPriority::PriorityMax => Priority::High,
            ModelPriority::PriorityDefault | ModelPriority::PriorityMin => Priority::Normal,
        },
        gather_threshold: NonZero::new(optimization.gather_kernel_buffer_threshold),
    };
    Ok(Lane::new(&device, config)?)
}

/// Memory for inputs and outputs of the largest batches, and for what graphs work on. Dimensions that
/// vary count as 1: who sends more has the lane take more.
fn staging_byte_size(config: &ModelConfig) -> Result<usize, BackendError> {
    let largest = config.max_batch_size.max(1);
    let graphs = graphs::sizes(config)?;
    let mut sizes = graphs.iter().map(|sizes| *sizes.end()).chain([largest]);
    sizes.try_fold(0_usize, |sum, rows| {
        let slot = slot_byte_size(config, rows)?;
        let all = slot.checked_mul(Lane::DEPTH);
        all.and_then(|all| sum.checked_add(all))
            .ok_or_else(|| too_large(&config.name, &Shape::default()))
    })
}

/// Memory for inputs and outputs of one batch.
fn slot_byte_size(config: &ModelConfig, rows: usize) -> Result<usize, BackendError> {
    let inputs = config
        .inputs
        .iter()
        .map(|input| (input.datatype, &input.dims));
    let outputs = config
        .outputs
        .iter()
        .map(|output| (output.datatype, &output.dims));
    let mut byte_size = 0_usize;
    for (datatype, dims) in inputs.chain(outputs) {
        let shape: Shape = dims.iter().map(|&dim| dim.max(1)).collect();
        byte_size = tensor_byte_size(datatype, &shape)
            .and_then(|row| class_byte_size(row.checked_mul(rows)?))
            .and_then(|tensor| byte_size.checked_add(tensor))
            .ok_or_else(|| too_large(&config.name, &shape))?;
    }
    Ok(byte_size)
}

fn tensor_byte_size(datatype: Datatype, shape: &Shape) -> Option<usize> {
    // A BYTES element is at least its length.
    let element = datatype.element_byte_size().unwrap_or(4);
    shape.element_count()?.checked_mul(element)
}

fn too_large(name: &str, shape: &Shape) -> BackendError {
    BackendError::InvalidModel(format!(
        "'{name}' of shape {shape} is too large for a device"
    ))
}

/// An output of device memory whose content is for the executor to make: variable dimensions are 1.
pub(super) fn output_tensor(
    lane: &Lane,
    spec: &OutputSpec,
    rows: Option<usize>,
) -> Result<(Tensor, DeviceSpan), BackendError> {
    let dims = spec.reshape.as_ref().unwrap_or(&spec.dims);
    device_tensor(lane, (&spec.name, spec.datatype, dims), rows)
}

/// A tensor of device memory with any content, of that name, datatype and shape: variable dimensions
/// are 1.
pub(super) fn device_tensor(
    lane: &Lane,
    (name, datatype, dims): (&str, Datatype, &Shape),
    rows: Option<usize>,
) -> Result<(Tensor, DeviceSpan), BackendError> {
    let mut shape: Shape = dims.iter().map(|&dim| dim.max(1)).collect();
    if let Some(rows) = rows {
        shape = shape.with_leading(i64::try_from(rows).unwrap_or(i64::MAX));
    }
    let byte_size = tensor_byte_size(datatype, &shape).ok_or_else(|| too_large(name, &shape))?;
    let span = lane.pool().take(byte_size)?;
    let tensor = Tensor {
        datatype,
        shape,
        data: Buffer::Foreign(Arc::new(span.clone())),
    };
    Ok((tensor, span))
}
