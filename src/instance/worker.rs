//! An instance's loop: next → gather → execute → scatter → answer. What a decoupled executor takes
//! in, or a device is given, is answered elsewhere.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    BatchSource, Peers, Seat, Signature, decoupled, flight,
    gather::{Slabs, gather},
    scatter::scatter,
};
use crate::{
    backend::{BackendError, Executor},
    error::Error,
    inference::{
        ExecutionRecord, FailureReason, Probe, Request, RequestTiming, Response, Stage, Statistics,
    },
};

/// Serves `source` until it is closed and empty. An instance whose device is lost ends, unless there
/// is no other that could answer.
pub(super) fn run(mut seat: Seat, source: &dyn BatchSource, peers: &Peers) {
    loop {
        // Before work is asked for, so that a batch is formed when it can run.
        seat.wait_for_room();
        let Some((requests, next)) = source.next(seat) else {
            return;
        };
        seat = next;
        if seat.is_able() {
            seat.run(requests);
        } else if peers.any_able() {
            return source.put_back(requests);
        } else {
            seat.refuse(requests);
        }
    }
}

/// Runs the requests as one batch that begins at `start`, and answers them.
pub(super) fn execute_and_answer<R>(
    executor: &mut dyn Executor,
    requests: R,
    start: Instant,
    signature: &Arc<Signature>,
    statistics: &Arc<Statistics>,
) where
    R: AsRef<[Request]> + IntoIterator<Item = Request>,
{
    if signature.decoupled
        && let Some(executor) = executor.decoupled()
    {
        let requests = requests.into_iter().collect();
        return decoupled::execute(executor, requests, signature, statistics);
    }
    if let Some(executor) = executor.on_device() {
        let requests = requests.into_iter().collect();
        return flight::launch(executor, requests, start, signature, statistics);
    }
    match execute(executor, requests.as_ref(), start, signature) {
        Ok(executed) => answer(requests, executed, statistics),
        Err(error) => fail(requests, &error.into(), statistics),
    }
}

pub(super) struct Executed {
    pub(super) responses: Vec<Response>,
    pub(super) start: Instant,
    pub(super) compute_input: Duration,
    pub(super) compute_infer: Duration,
    pub(super) compute_output: Duration,
}

fn execute(
    executor: &mut dyn Executor,
    requests: &[Request],
    start: Instant,
    signature: &Signature,
) -> Result<Executed, BackendError> {
    let mut batch = gather(requests, signature, Slabs::Host)?;
    let gathered = Instant::now();
    // A backend that panics fails its batch, not the instance.
    catch_unwind(AssertUnwindSafe(|| executor.execute(&mut batch)))
        .unwrap_or_else(|_| Err(BackendError::Failed("the backend panicked".to_owned())))?;
    let inferred = Instant::now();
    let responses = scatter(batch, requests, signature)?;
    Ok(Executed {
        responses,
        start,
        compute_input: gathered - start,
        compute_infer: inferred - gathered,
        compute_output: inferred.elapsed(),
    })
}

pub(super) fn answer<R>(requests: R, executed: Executed, statistics: &Statistics)
where
    R: AsRef<[Request]> + IntoIterator<Item = Request>,
{
    let now = Instant::now();
    let timings: SmallVec<[_; 1]> = requests
        .as_ref()
        .iter()
        .map(|request| RequestTiming {
            total: now.saturating_duration_since(request.received),
            queue: executed.start.saturating_duration_since(request.queued),
        })
        .collect();
    // Counted before they are answered: who has an answer finds it in the statistics.
    statistics.executed(&ExecutionRecord {
        batch_size: requests
            .as_ref()
            .iter()
            .map(|request| request.batch_size)
            .sum(),
        requests: &timings,
        compute_input: executed.compute_input,
        compute_infer: executed.compute_infer,
        compute_output: executed.compute_output,
    });
    let times = [
        executed.start,
        executed.start + executed.compute_input,
        executed.start + executed.compute_input + executed.compute_infer,
        now,
    ];
    for (request, response) in requests.into_iter().zip(executed.responses) {
        if let Some(probe) = &request.probe {
            note(probe.as_ref(), request.queued, times, &response);
        }
        request.respond.send(Ok(response));
    }
}

/// Tells who traces the request what was done, and when.
fn note(probe: &dyn Probe, queued: Instant, times: [Instant; 4], response: &Response) {
    let [start, gathered, inferred, end] = times;
    probe.at(Stage::QueueStart, queued);
    probe.at(Stage::ComputeStart, start);
    probe.at(Stage::ComputeInputEnd, gathered);
    probe.at(Stage::ComputeOutputStart, inferred);
    probe.at(Stage::ComputeEnd, end);
    for output in &response.outputs {
        probe.output(&output.name, &output.tensor);
    }
    probe.at(Stage::ResponseComplete, Instant::now());
}

pub(super) fn fail(
    requests: impl IntoIterator<Item = Request>,
    error: &Error,
    statistics: &Statistics,
) {
    for request in requests {
        statistics.failed(FailureReason::Backend, request.received.elapsed());
        request.respond.send(Err(error.clone()));
    }
}
