//! Batches on a device: how their tensors come there and back, the same for every backend that
//! computes on one.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{BackendError, Batch, DeviceExecutor, LoadSpec, Pieces};
use crate::{
    device::{
        Lane, class_byte_size,
        cuda::{DeviceSpan, Landed, Priority, Work},
    },
    model_config::{ModelConfig, OutputSpec},
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
    for input in &mut batch.inputs {
        input.tensor.data = upload(&lane, &mut work, &input.tensor.data)?;
    }
    work.order(lane.upload(), lane.compute())?;
    work.mark(lane.compute())?;
    executor.enqueue(&mut batch, &mut work)?;
    work.mark(lane.compute())?;
    work.order(lane.compute(), lane.download())?;
    let Routes {
        mut on_host,
        mut deliveries,
    } = routes;
    for delivery in &mut deliveries {
        deliver(&lane, &mut work, &batch, delivery)?;
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

/// Copies rows of an output to where they are wanted, if they are of a known size, fit, and the device
/// there can be used; otherwise they have no destination any more.
fn deliver(
    lane: &Lane,
    work: &mut Work,
    batch: &Batch,
    delivery: &mut Delivery,
) -> Result<(), BackendError> {
    let wanted = delivery.destination.take();
    let output = batch.outputs.get(delivery.output).and_then(Option::as_ref);
    let (Some(wanted), Some(output)) = (wanted, output) else {
        return Ok(());
    };
    let rows = rows_of(output, batch.batch_size, &delivery.rows);
    let (Some(rows), Some(room)) = (rows, device_span(&wanted)) else {
        return Ok(());
    };
    let place = room.part(0, rows.byte_size());
    if let Some(place) = place.filter(|place| place.context().lost().is_none()) {
        work.copy(lane.download(), &place, &rows)?;
        delivery.destination = Some(Buffer::Foreign(Arc::new(place)));
    }
    Ok(())
}

/// Some rows of an output on a device, whose elements are all of one size.
fn rows_of(output: &Tensor, count: usize, rows: &Range<usize>) -> Option<DeviceSpan> {
    output.datatype.element_byte_size()?;
    let span = device_span(&output.data)?;
    let row = span.byte_size().checked_div(count)?;
    span.part(rows.start.checked_mul(row)?, rows.len().checked_mul(row)?)
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

/// What the executor computes on: memory that already is on the device is used where it is, and what
/// comes from several places is put together there.
fn upload(lane: &Lane, work: &mut Work, data: &Buffer) -> Result<Buffer, BackendError> {
    let ordinal = lane.device().context().ordinal();
    if device_span(data)
        .is_some_and(|span| span.is_aligned() && span.context().ordinal() == ordinal)
    {
        return Ok(data.clone());
    }
    let whole = lane.pool().take(data.byte_size())?;
    let mut offset = 0;
    for piece in Pieces::of(data).unwrap_or(std::slice::from_ref(data)) {
        let place = whole.part(offset, piece.byte_size()).ok_or_else(unplaced)?;
        offset += piece.byte_size();
        match device_span(piece) {
            Some(source) => work.copy(lane.upload(), &place, source)?,
            None => {
                let bytes = piece.to_host_bytes().ok_or_else(unplaced)?;
                work.upload(lane.upload(), &place, bytes)?;
            }
        }
    }
    Ok(Buffer::Foreign(Arc::new(whole)))
}

fn unplaced() -> BackendError {
    BackendError::Failed("an input is neither on the host nor on a device".to_owned())
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
    let byte_size = staging_byte_size(spec.config)?;
    Ok(Lane::new(&device, byte_size, Priority::Normal)?)
}

/// Memory for inputs and outputs of the largest batches. Dimensions that vary count as 1: who sends
/// more has the lane take more.
fn staging_byte_size(config: &ModelConfig) -> Result<usize, BackendError> {
    let inputs = config
        .inputs
        .iter()
        .map(|input| (input.datatype, &input.dims));
    let outputs = config
        .outputs
        .iter()
        .map(|output| (output.datatype, &output.dims));
    let rows = config.max_batch_size.max(1);
    let mut byte_size = 0_usize;
    for (datatype, dims) in inputs.chain(outputs) {
        let shape: Shape = dims.iter().map(|&dim| dim.max(1)).collect();
        byte_size = tensor_byte_size(datatype, &shape)
            .and_then(|row| class_byte_size(row.checked_mul(rows)?))
            .and_then(|tensor| tensor.checked_mul(Lane::DEPTH))
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
    let mut shape: Shape = dims.iter().map(|&dim| dim.max(1)).collect();
    if let Some(rows) = rows {
        shape = shape.with_leading(i64::try_from(rows).unwrap_or(i64::MAX));
    }
    let byte_size =
        tensor_byte_size(spec.datatype, &shape).ok_or_else(|| too_large(&spec.name, &shape))?;
    let span = lane.pool().take(byte_size)?;
    let tensor = Tensor {
        datatype: spec.datatype,
        shape,
        data: Buffer::Foreign(Arc::new(span.clone())),
    };
    Ok((tensor, span))
}
