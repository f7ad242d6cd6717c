//! Decoupled execution: each request goes to the executor with a responder of its own, which
//! checks, counts and sends what the executor answers, from whatever thread it likes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{Signature, scatter::checked_response};
use crate::{
    backend::{
        BackendError, BatchInput, DecoupledExecutor, DecoupledRequest, Outputs, Responder, Stop,
        on_host,
    },
    error::{Error, Result},
    inference::{
        ExecutionRecord, FailureReason, Input, Outcome, PartSender, Request, RequestTiming,
        ResponseKind, ResponseRecord, Stage, Statistics,
    },
    tensor::{Buffer, Tensor},
};

/// Hands the requests to the executor.
pub(super) fn execute(
    executor: &mut dyn DecoupledExecutor,
    requests: Vec<Request>,
    signature: &Arc<Signature>,
    statistics: &Arc<Statistics>,
) {
    let start = Instant::now();
    let batch_size = requests.iter().map(|request| request.batch_size).sum();
    let requests = requests
        .into_iter()
        .filter_map(|request| open(request, start, signature, statistics))
        .collect();
    let opened = Instant::now();
    // A backend that panics drops the responders that it holds, and that answers them.
    if catch_unwind(AssertUnwindSafe(|| executor.execute(requests))).is_err() {
        tracing::error!("the backend of a decoupled model panicked");
    }
    statistics.ran(&ExecutionRecord {
        requests: &[],
        batch_size,
        compute_input: opened - start,
        compute_infer: opened.elapsed(),
        compute_output: Duration::ZERO,
    });
}

/// What the executor sees of a request; `None`, and an error for the client, if it waits for exactly
/// one response.
fn open(
    request: Request,
    start: Instant,
    signature: &Arc<Signature>,
    statistics: &Arc<Statistics>,
) -> Option<DecoupledRequest> {
    if let Some(probe) = &request.probe {
        probe.at(Stage::QueueStart, request.queued);
        probe.at(Stage::ComputeStart, start);
    }
    let parts = match request.respond.into_parts() {
        Ok(parts) => parts,
        Err(respond) => {
            respond.send(Err(Error::internal(
                "decoupled",
                "a decoupled model was asked for exactly one response",
            )));
            return None;
        }
    };
    let reply = Reply {
        parts: Some(parts),
        wanted: request.wanted.clone(),
        rows: request.batch_size,
        received: request.received,
        queue: start.saturating_duration_since(request.queued),
        since: start,
        count: 0,
        failed: false,
        compute_infer: Duration::ZERO,
        compute_output: Duration::ZERO,
        signature: Arc::clone(signature),
        statistics: Arc::clone(statistics),
    };
    let inputs = match request.inputs.into_iter().map(readable).collect() {
        Ok(inputs) => inputs,
        Err(error) => {
            Box::new(reply).finish(Some(Err(error)));
            return None;
        }
    };
    Some(DecoupledRequest {
        id: request.id,
        parameters: request.parameters,
        correlation: request.correlation,
        batch_size: request.batch_size,
        inputs,
        wanted: request.wanted,
        responder: Box::new(reply),
    })
}

/// An input whose bytes the executor can read, wherever the client left them.
fn readable(input: Input) -> Result<BatchInput, BackendError> {
    let data = Buffer::Host(on_host(&input.tensor.data)?);
    Ok(BatchInput {
        index: input.index,
        tensor: Tensor {
            data,
            ..input.tensor
        },
    })
}

/// One request's way back.
struct Reply {
    /// `None` once the answer has ended.
    parts: Option<PartSender>,
    wanted: SmallVec<[usize; 4]>,
    rows: usize,
    received: Instant,
    queue: Duration,
    /// When the executor began with the next response.
    since: Instant,
    /// Responses so far.
    count: usize,
    failed: bool,
    compute_infer: Duration,
    compute_output: Duration,
    signature: Arc<Signature>,
    statistics: Arc<Statistics>,
}

impl Responder for Reply {
    fn is_cancelled(&self) -> bool {
        self.parts.as_ref().is_none_or(PartSender::is_cancelled)
    }

    fn send(&mut self, response: Result<Outputs, BackendError>) -> Result<(), Stop> {
        let (outcome, is_sound) = self.outcome(response);
        if !is_sound {
            self.end(Some(outcome));
            return Err(Stop);
        }
        let sent = match &mut self.parts {
            None => return Err(Stop),
            Some(parts) => parts.send(outcome),
        };
        self.since = Instant::now();
        sent.map_err(|error| {
            self.failed = true;
            self.end(Some(Err(error)));
            Stop
        })
    }

    fn finish(mut self: Box<Self>, last: Option<Result<Outputs, BackendError>>) {
        let last = last.map(|response| self.outcome(response).0);
        self.end(last);
    }
}

impl Reply {
    /// Checks and counts a response. With it: whether the executor kept to the model's signature.
    fn outcome(&mut self, response: Result<Outputs, BackendError>) -> (Outcome, bool) {
        let computed = Instant::now();
        let is_error = response.is_err();
        let outcome = response
            .and_then(|outputs| checked_response(outputs, &self.wanted, &self.signature))
            .map_err(Error::from);
        self.failed |= outcome.is_err();
        let kind = match &outcome {
            _ if self.is_cancelled() => ResponseKind::Cancelled,
            Ok(_) => ResponseKind::Success,
            Err(_) => ResponseKind::Fail,
        };
        self.count_response(kind, computed);
        let is_sound = is_error || outcome.is_ok();
        (outcome, is_sound)
    }

    fn count_response(&mut self, kind: ResponseKind, computed: Instant) {
        let record = ResponseRecord {
            kind,
            compute_infer: computed.saturating_duration_since(self.since),
            compute_output: computed.elapsed(),
        };
        self.compute_infer += record.compute_infer;
        self.compute_output += record.compute_output;
        self.statistics.responses().count(self.count, &record);
        if self.count == 0 && kind != ResponseKind::Empty {
            self.statistics.first_response(self.received.elapsed());
        }
        self.count += 1;
    }

    fn end(&mut self, last: Option<Outcome>) {
        let Some(parts) = self.parts.take() else {
            return;
        };
        let is_cancelled = parts.is_cancelled();
        if last.is_none() {
            let kind = match is_cancelled {
                true => ResponseKind::Cancelled,
                false => ResponseKind::Empty,
            };
            self.count_response(kind, Instant::now());
        }
        // Counted before the end is sent: who has it finds it in the statistics.
        self.count_request(is_cancelled);
        parts.finish(last);
    }

    fn count_request(&self, is_cancelled: bool) {
        let total = self.received.elapsed();
        if is_cancelled {
            self.statistics.failed(FailureReason::Canceled, total);
        } else if self.failed {
            self.statistics.failed(FailureReason::Backend, total);
        } else {
            self.statistics.answered(&ExecutionRecord {
                requests: &[RequestTiming {
                    total,
                    queue: self.queue,
                }],
                batch_size: self.rows,
                compute_input: Duration::ZERO,
                compute_infer: self.compute_infer,
                compute_output: self.compute_output,
            });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.parts.is_some() {
            self.failed = true;
            self.end(Some(Err(Error::internal(
                "unfinished",
                "the backend dropped the request before its last response",
            ))));
        }
    }
}

#[cfg(test)]
#[path = "decoupled_tests.rs"]
mod tests;
