//! What is told of a request on its way, to whoever traces it.

use std::{fmt::Debug, time::Instant};

use crate::tensor::Tensor;

/// A point on a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The model was asked.
    RequestStart,
    /// It entered its queue.
    QueueStart,
    /// An instance began with its batch.
    ComputeStart,
    /// The batch's inputs were together, and the backend began.
    ComputeInputEnd,
    /// The backend had finished.
    ComputeOutputStart,
    /// The outputs were taken apart.
    ComputeEnd,
    /// The answer was about to be sent to the front door.
    ResponseComplete,
    /// The front door had the answer, or knew that there was none.
    RequestEnd,
}

/// Takes note of what happens to one request. Called by whoever has the request, on any thread;
/// must neither block nor fail.
pub trait Probe: Send + Sync + Debug {
    /// The request came to `stage` at that time.
    fn at(&self, stage: Stage, when: Instant);

    /// An input with which the request enters its queue.
    fn input(&self, name: &str, tensor: &Tensor);

    /// An output that the backend gave.
    fn output(&self, name: &str, tensor: &Tensor);
}
