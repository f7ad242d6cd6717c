//! What is noted of one request.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

use super::{
    sampler::Sampler,
    writer::{Message, Plan},
};
use crate::{
    inference::{Probe, Stage},
    tensor::{Datatype, Tensor},
};

/// One request's trace. It is written when its last holder drops it.
#[derive(Debug)]
pub struct Trace {
    sampler: Arc<Sampler>,
    record: Mutex<Record>,
}

/// What is known of a request.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) request_id: String,
    pub(super) times: Vec<(&'static str, Instant)>,
    pub(super) tensors: Vec<TracedTensor>,
    /// Bytes of tensors that may still be kept.
    pub(super) tensor_bytes_left: usize,
}

/// A tensor, cut to what may be kept of it.
#[derive(Debug)]
pub(super) struct TracedTensor {
    pub(super) activity: &'static str,
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<i64>,
    pub(super) data: Bytes,
    pub(super) is_cut: bool,
}

/// Marks the end of sending when it is dropped.
#[derive(Debug)]
pub struct Sending {
    trace: Arc<Trace>,
    end: &'static str,
}

impl Trace {
    pub(super) fn new(sampler: Arc<Sampler>, id: u64, tensor_byte_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            sampler,
            record: Mutex::new(Record {
                id,
                tensor_bytes_left: tensor_byte_limit,
                ..Record::default()
            }),
        })
    }

    /// Says whose request it is. What never comes so far is not written.
    pub fn identify(&self, model: &str, version: u64, request_id: &str) {
        let mut record = self.lock();
        model.clone_into(&mut record.model);
        record.version = version;
        request_id.clone_into(&mut record.request_id);
    }

    /// Notes a time under a name of its own.
    pub fn mark(&self, name: &'static str, when: Instant) {
        if self.sampler.values.levels.timestamps {
            self.lock().times.push((name, when));
        }
    }

    /// Notes `begin` now, and `end` when the value is dropped.
    pub fn sending(self: Arc<Self>, begin: &'static str, end: &'static str) -> Sending {
        self.mark(begin, Instant::now());
        Sending { trace: self, end }
    }

    fn keep(&self, activity: &'static str, name: &str, tensor: &Tensor) {
        if !self.sampler.values.levels.tensors {
            return;
        }
        let mut record = self.lock();
        // Memory that the host cannot read is not copied for this.
        let whole = tensor.data.host().unwrap_or_default();
        let kept = whole.len().min(record.tensor_bytes_left);
        record.tensor_bytes_left -= kept;
        record.tensors.push(TracedTensor {
            activity,
            name: name.to_owned(),
            datatype: tensor.datatype,
            shape: tensor.shape.to_vec(),
            data: Bytes::copy_from_slice(whole.get(..kept).unwrap_or_default()),
            is_cut: kept < tensor.data.byte_size(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Trace {
    fn at(&self, stage: Stage, when: Instant) {
        self.mark(name(stage), when);
    }

    fn input(&self, name: &str, tensor: &Tensor) {
        self.keep("TENSOR_QUEUE_INPUT", name, tensor);
    }

    fn output(&self, name: &str, tensor: &Tensor) {
        self.keep("TENSOR_BACKEND_OUTPUT", name, tensor);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let record = mem::take(&mut *self.lock());
        if record.model.is_empty() {
            return;
        }
        let plan = Plan {
            serial: self.sampler.serial,
            per_file: self.sampler.values.log_frequency,
            total: self.sampler.values.count,
        };
        let message = Message::Finished(Box::new(record), plan);
        self.sampler.outbox.send(message);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.trace.mark(self.end, Instant::now());
    }
}

/// Triton's name of a stage.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::RequestStart => "REQUEST_START",
        Stage::QueueStart => "QUEUE_START",
        Stage::ComputeStart => "COMPUTE_START",
        Stage::ComputeInputEnd => "COMPUTE_INPUT_END",
        Stage::ComputeOutputStart => "COMPUTE_OUTPUT_START",
        Stage::ComputeEnd => "COMPUTE_END",
        Stage::ResponseComplete => "INFER_RESPONSE_COMPLETE",
        Stage::RequestEnd => "REQUEST_END",
    }
}
