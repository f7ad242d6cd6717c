//! An instance's loop: next → gather → execute → scatter → answer. What a decoupled executor takes
//! in is answered elsewhere.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{BatchSource, Signature, decoupled, gather::gather, scatter::scatter};
use crate::{
    backend::{BackendError, Executor},
    error::Error,
    inference::{ExecutionRecord, FailureReason, Request, RequestTiming, Response, Statistics},
};

/// Serves `source` until it is closed and empty.
pub(super) fn run(
    mut executor: Box<dyn Executor>,
    source: &dyn BatchSource,
    signature: &Arc<Signature>,
    statistics: &Arc<Statistics>,
) {
    while let Some(requests) = source.next() {
        if signature.decoupled
            && let Some(executor) = executor.decoupled()
        {
            decoupled::execute(executor, requests, signature, statistics);
            continue;
        }
        match execute(executor.as_mut(), &requests, signature) {
            Ok(executed) => answer(requests, executed, statistics),
            Err(error) => fail(requests, &error.into(), statistics),
        }
    }
}

struct Executed {
    responses: Vec<Response>,
    start: Instant,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
}

fn execute(
    executor: &mut dyn Executor,
    requests: &[Request],
    signature: &Signature,
) -> Result<Executed, BackendError> {
    let start = Instant::now();
    let mut batch = gather(requests, signature)?;
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

fn answer(requests: Vec<Request>, executed: Executed, statistics: &Statistics) {
    let now = Instant::now();
    let timings: Vec<_> = requests
        .iter()
        .map(|request| RequestTiming {
            total: now.saturating_duration_since(request.received),
            queue: executed.start.saturating_duration_since(request.queued),
        })
        .collect();
    // Counted before they are answered: who has an answer finds it in the statistics.
    statistics.executed(&ExecutionRecord {
        batch_size: requests.iter().map(|request| request.batch_size).sum(),
        requests: &timings,
        compute_input: executed.compute_input,
        compute_infer: executed.compute_infer,
        compute_output: executed.compute_output,
    });
    for (request, response) in requests.into_iter().zip(executed.responses) {
        request.respond.send(Ok(response));
    }
}

fn fail(requests: Vec<Request>, error: &Error, statistics: &Statistics) {
    for request in requests {
        statistics.failed(FailureReason::Backend, request.received.elapsed());
        request.respond.send(Err(error.clone()));
    }
}
