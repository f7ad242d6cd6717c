//! CUDA graphs, as a model's `optimization.cuda` asks for them: what an executor gives its stream is
//! written down once for each of a few batch sizes, and then given to the stream in one call. A batch
//! between two sizes is run as the larger one, with rows of zeros behind its own.
//!
//! A graph reads and writes the same memory each time: so there is one for each batch that can be under
//! way. Copies from and to the host are not part of it: their addresses change, and on streams of their
//! own they go on while another batch is computed.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{BackendError, Batch, BatchInput, DeviceExecutor, on_device, transfer};
use crate::{
    device::{
        Entry, Lane, Purpose,
        cuda::{DeviceSpan, Graph, Work},
    },
    model_config::{ModelConfig, Scheduling},
    tensor::{Buffer, Memory, Tensor},
};

/// The graphs of one executor; none by default.
#[derive(Debug, Default)]
pub struct Graphs(Vec<Bucket>);

/// Graphs for batches of some sizes.
#[derive(Debug)]
struct Bucket {
    sizes: RangeInclusive<usize>,
    slots: [Arc<Slot>; Lane::DEPTH],
    /// Which slot comes next: a batch is begun when all but one are done, so its slot is free.
    turn: AtomicUsize,
}

/// One graph and the memory on which it works.
#[derive(Debug)]
pub(super) struct Slot {
    row_count: usize,
    inputs: Vec<DeviceSpan>,
    outputs: Vec<Option<Tensor>>,
    graph: Arc<Graph>,
    _entry: Entry,
}

impl Graphs {
    /// Writes down what `executor` does for batches of each size that the configuration names.
    ///
    /// # Errors
    /// If the configuration names a size that no batch has, the executor fails, or the device has no
    /// memory for it.
    pub(super) fn capture(
        executor: &mut dyn DeviceExecutor,
        config: &ModelConfig,
    ) -> Result<Self, BackendError> {
        let mut buckets = Vec::new();
        for sizes in sizes(config)? {
            let slots = [
                Arc::new(Slot::capture(executor, config, *sizes.end())?),
                Arc::new(Slot::capture(executor, config, *sizes.end())?),
            ];
            buckets.push(Bucket {
                sizes,
                slots,
                turn: AtomicUsize::new(0),
            });
        }
        Ok(Self(buckets))
    }

    /// Where the batch can be run as a graph, if it can.
    pub(super) fn slot(&self, batch: &Batch) -> Option<Arc<Slot>> {
        let mut buckets = self.0.iter();
        let bucket = buckets.find(|bucket| bucket.sizes.contains(&batch.batch_size))?;
        let turn = bucket.turn.fetch_add(1, Relaxed) % Lane::DEPTH;
        let slot = bucket.slots.get(turn)?;
        (batch.inputs.len() == slot.inputs.len()).then(|| Arc::clone(slot))
    }
}

impl Slot {
    fn capture(
        executor: &mut dyn DeviceExecutor,
        config: &ModelConfig,
        row_count: usize,
    ) -> Result<Self, BackendError> {
        let lane = Arc::clone(executor.lane());
        let context = lane.device().context();
        let (mut batch, inputs) = batch(&lane, config, row_count)?;
        // Engines take memory when they first see a size, which a capture does not allow.
        let mut work = Work::new(context)?;
        for input in &inputs {
            work.fill(lane.compute(), input, 0)?;
        }
        executor.enqueue(&mut batch.clone(), &mut work)?;
        work.finish()?.wait()?;
        let free = context.memory()?.0;
        let graph = Graph::capture(lane.compute(), |work| executor.enqueue(&mut batch, work))?;
        let taken = free.saturating_sub(context.memory()?.0);
        Ok(Self {
            row_count,
            inputs,
            outputs: batch.outputs,
            graph,
            _entry: lane.account().hold(Purpose::Graphs, taken),
        })
    }

    /// Gives the lane's upload stream the batch's inputs.
    pub(super) fn upload(
        &self,
        lane: &Lane,
        work: &mut Work,
        batch: &Batch,
    ) -> Result<(), BackendError> {
        for (input, place) in batch.inputs.iter().zip(&self.inputs) {
            transfer::fill(lane, work, &input.tensor.data, place)?;
        }
        Ok(())
    }

    /// Gives the lane's compute stream the graph, and sets each wanted output.
    pub(super) fn replay(
        &self,
        lane: &Lane,
        work: &mut Work,
        batch: &mut Batch,
    ) -> Result<(), BackendError> {
        work.replay(lane.compute(), &self.graph)?;
        for &index in &batch.wanted {
            let output = self.outputs.get(index).and_then(Option::as_ref);
            if let Some(place) = batch.outputs.get_mut(index) {
                *place = output.and_then(|output| self.rows_of(output, batch.batch_size));
            }
        }
        Ok(())
    }

    /// The first rows of an output.
    fn rows_of(&self, output: &Tensor, count: usize) -> Option<Tensor> {
        if count == self.row_count {
            return Some(output.clone());
        }
        let span = on_device::device_span(&output.data)?;
        let row = span.byte_size().checked_div(self.row_count)?;
        let part = span.part(0, row.checked_mul(count)?)?;
        let mut shape = output.shape.clone();
        shape.set(0, i64::try_from(count).ok()?);
        Some(Tensor {
            datatype: output.datatype,
            shape,
            data: Buffer::Foreign(Arc::new(part)),
        })
    }
}

/// A batch of that many rows that wants all outputs, and the memory of its inputs.
fn batch(
    lane: &Lane,
    config: &ModelConfig,
    row_count: usize,
) -> Result<(Batch, Vec<DeviceSpan>), BackendError> {
    let rows = (config.max_batch_size > 0).then_some(row_count);
    let mut batch = Batch {
        batch_size: row_count,
        inputs: Default::default(),
        wanted: (0..config.outputs.len()).collect(),
        outputs: vec![None; config.outputs.len()],
    };
    let mut spans = Vec::new();
    for (index, input) in config.inputs.iter().enumerate() {
        let dims = input.reshape.as_ref().unwrap_or(&input.dims);
        let named = (&*input.name, input.datatype, dims);
        let (tensor, span) = on_device::device_tensor(lane, named, rows)?;
        batch.inputs.push(BatchInput { index, tensor });
        spans.push(span);
    }
    Ok((batch, spans))
}

/// The sizes that share a graph, ascending, each for its largest; none if no graphs are wanted or can
/// be used.
///
/// # Errors
/// If the configuration names a size that no batch has, or shapes of inputs.
pub(super) fn sizes(config: &ModelConfig) -> Result<Vec<RangeInclusive<usize>>, BackendError> {
    let optimization = config.proto.optimization.as_ref();
    let Some(cuda) = optimization
        .and_then(|it| it.cuda.as_ref())
        .filter(|it| it.graphs)
    else {
        return Ok(Vec::new());
    };
    if let Some(name) = varying(config) {
        tracing::warn!(model = %config.name, "runs without CUDA graphs: the size of '{name}' varies");
        return Ok(Vec::new());
    }
    if cuda.graph_spec.is_empty() {
        return Ok(usual_sizes(config));
    }
    let mut sizes = Vec::new();
    for spec in &cuda.graph_spec {
        let lower = spec.graph_lower_bound.as_ref();
        if !spec.input.is_empty() || lower.is_some_and(|lower| !lower.input.is_empty()) {
            return Err(refuse(
                config,
                "names shapes of inputs, which are fixed here; leave them out",
            ));
        }
        let end = size(config, spec.batch_size)?;
        let start = lower.map_or(Ok(end), |lower| size(config, lower.batch_size))?;
        if start > end {
            return Err(refuse(
                config,
                &format!("has a lower bound of {start} above {end}"),
            ));
        }
        sizes.push(start..=end);
    }
    sizes.sort_by_key(|sizes| *sizes.end());
    Ok(sizes)
}

/// A size that batches of the model can have; 0, as 1, is that of a model without a batch dimension.
fn size(config: &ModelConfig, named: i32) -> Result<usize, BackendError> {
    let most = config.max_batch_size.max(1);
    let size = usize::try_from(named).ok().map(|size| match size {
        0 if config.max_batch_size == 0 => 1,
        size => size,
    });
    size.filter(|size| (1..=most).contains(size))
        .ok_or_else(|| {
            refuse(
                config,
                &format!("has batch_size {named}, it must be from 1 to {most}"),
            )
        })
}

/// Powers of two, the preferred sizes, and the largest.
fn usual_sizes(config: &ModelConfig) -> Vec<RangeInclusive<usize>> {
    let most = config.max_batch_size.max(1);
    let powers = std::iter::successors(Some(1_usize), |size| size.checked_mul(2));
    let mut ends: Vec<_> = powers.take_while(|size| *size < most).collect();
    if let Scheduling::Dynamic(batching) = &config.scheduling {
        let preferred = batching.preferred_batch_sizes.iter().copied();
        ends.extend(preferred.filter(|size| (1..most).contains(size)));
    }
    ends.push(most);
    ends.sort_unstable();
    ends.dedup();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts
        .zip(&ends)
        .map(|(before, &end)| before + 1..=end)
        .collect()
}

/// The first tensor whose rows are not all of one size.
fn varying(config: &ModelConfig) -> Option<&str> {
    let inputs = config.inputs.iter();
    let outputs = config.outputs.iter();
    inputs
        .map(|input| (&input.name, input.datatype, &input.dims))
        .chain(outputs.map(|output| (&output.name, output.datatype, &output.dims)))
        .find(|(_, datatype, dims)| datatype.element_byte_size().is_none() || dims.contains(&-1))
        .map(|(name, ..)| &**name)
}

fn refuse(config: &ModelConfig, what: &str) -> BackendError {
    BackendError::InvalidModel(format!(
        "optimization.cuda.graph_spec of model '{}' {what}",
        config.name
    ))
}

#[cfg(test)]
#[path = "graphs_tests.rs"]
mod tests;
