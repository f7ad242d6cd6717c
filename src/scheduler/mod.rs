//! One scheduler per model: a bounded queue that idle instances pull batches from. What to batch is
//! decided in [`policy`], without a lock, a clock or a channel; this file acts on it.

mod handoff;
mod lending;
pub mod policy;
mod queue;
#[cfg(test)]
mod tests;
mod timer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use self::timer::Timer;
use self::{
    handoff::{Handoff, Lent, Next},
    lending::Lending,
    policy::{Decision, Limits},
    queue::{Dropped, Queue, Refused},
    timer::Alarm,
};
use crate::{
    error::Error,
    inference::{FailureReason, Infer, Rejected, Request, Statistics},
    instance::{BatchSource, Seat},
    model_config::{ModelConfig, Scheduling},
};

/// Bounds of every model's queue.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most requests waiting, unless the model's `max_queue_size` says otherwise.
    pub max_requests: usize,
    /// Most bytes of input tensors waiting.
    pub max_byte_size: usize,
    /// Hold every batch back until this many requests wait (for tests that need full batches;
    /// Triton's `TRITONSERVER_DELAY_SCHEDULER`). 0 is off; after the first time it is off too.
    pub delay_until_requests: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_requests: 16_384,
            max_byte_size: 1 << 30,
            delay_until_requests: 0,
        }
    }
}

/// Requests that nobody waits for any more are looked for this long after the first of their clients
/// has gone, for that reads the whole queue.
const WITHDRAWAL_GRAIN: Duration = Duration::from_millis(5);

/// A model's queue, as requests and instances see it.
pub struct Scheduler {
    handoff: Handoff<Queue, Seat>,
    limits: Limits,
    lending: Lending,
    statistics: Arc<Statistics>,
    alarm: Alarm,
}

impl Scheduler {
    /// An empty queue for that model. Requests that have waited too long are answered when `timer`
    /// says so, or when an instance comes by before.
    pub fn new(
        config: &Config,
        model: &ModelConfig,
        statistics: Arc<Statistics>,
        timer: &Timer,
    ) -> Arc<Self> {
        let limits = match &model.scheduling {
            Scheduling::Default => Limits::unbatched(),
            Scheduling::Dynamic(batching) => Limits {
                max_batch_size: model.max_batch_size.max(1),
                preferred: batching.preferred_batch_sizes.clone(),
                max_queue_delay: batching.max_queue_delay,
            },
        };
        Arc::new_cyclic(|scheduler| Self {
            handoff: Handoff::new(Queue::new(config, &model.scheduling)),
            lending: Lending::new(model),
            limits,
            statistics,
            alarm: Alarm::new(timer, scheduler),
        })
    }

    /// Takes no more requests. What is queued is still handed out; then instances are told to end.
    pub fn close(&self) {
        self.handoff.close();
    }

    /// Answers what has waited too long or was cancelled, though no instance may be free. Closed or not: an instance
    /// that hangs must not keep those waiting who are queued behind it.
    fn expire(&self, now: Instant) {
        let mut dropped = Vec::new();
        let wake = self.handoff.with(|queue| {
            queue.sweep(now, usize::MAX, &mut dropped);
            queue.next_wake(now)
        });
        if let Some(at) = wake {
            self.alarm.set(at);
        }
        self.answer_dropped(&mut dropped);
    }

    fn decide(
        &self,
        queue: &mut Queue,
        closed: bool,
        dropped: &mut Vec<Dropped>,
    ) -> Next<Vec<Request>> {
        let now = Instant::now();
        queue.sweep(now, self.limits.max_batch_size, dropped);
        if !dropped.is_empty() {
            // They are answered without the lock; then this is decided again.
            return Next::Take(Vec::new());
        }
        if queue.is_held() && !closed {
            return Next::Wait;
        }
        match policy::decide(queue.candidates(), &self.limits, now) {
            Decision::Idle => Next::Wait,
            Decision::WaitUntil(_) if closed => Next::Take(queue.take(queue.len())),
            Decision::WaitUntil(instant) => Next::WaitFor(instant.saturating_duration_since(now)),
            Decision::Run(count) => Next::Take(queue.take(count)),
        }
    }

    /// The seat of an idle instance, where this request may run on the thread that brought it.
    fn lend(&self, request: &Request) -> Option<Lent<'_, Queue, Seat>> {
        if !self.lending.fits(request.byte_size()) {
            return None;
        }
        self.handoff.lend(|queue, seat| {
            queue.len() == 0 && !queue.is_held() && self.lending.agrees(seat.pace())
        })
    }

    fn answer_dropped(&self, dropped: &mut Vec<Dropped>) {
        self.statistics.dequeued(dropped.len());
        for Dropped { request, reason } in dropped.drain(..) {
            let (failure, error) = reason.explain();
            self.statistics.failed(failure, request.received.elapsed());
            request.respond.send(Err(error));
        }
    }
}

impl Infer for Scheduler {
    fn submit(&self, mut request: Request) -> Result<(), Box<Rejected>> {
        request.queued = Instant::now();
        if let Some(mut lent) = self.lend(&request)
            && let Some(seat) = lent.seat()
        {
            seat.run([request]);
            return Ok(());
        }
        let mut dropped = Vec::new();
        let pushed = self.handoff.push(request, |queue, request| {
            if queue.is_full_for(&request) {
                // Make room by dropping what nobody waits for any more.
                queue.sweep(request.queued, usize::MAX, &mut dropped);
            }
            let wake = queue.push(request)?;
            // Under the lock: an instance may take it at once.
            self.statistics.enqueued();
            Ok::<_, Box<Refused>>(wake)
        });
        self.answer_dropped(&mut dropped);
        match pushed {
            Ok(Ok(wake)) => {
                if let Some(at) = wake {
                    self.alarm.set(at);
                }
                Ok(())
            }
            Ok(Err(refused)) => {
                let Refused { request, full } = *refused;
                self.statistics
                    .failed(FailureReason::Rejected, request.received.elapsed());
                Err(Rejected::new(request, full.into()))
            }
            Err(request) => Err(Rejected::new(
                request,
                Error::unavailable("model_unloading", "the model is being unloaded"),
            )),
        }
    }

    fn withdrawn(&self) {
        // Whoever else goes away until then is found by the same look.
        self.alarm.set(Instant::now() + WITHDRAWAL_GRAIN);
    }
}

impl BatchSource for Scheduler {
    fn next(&self, mut seat: Seat) -> Option<(Vec<Request>, Seat)> {
        let mut dropped = Vec::new();
        loop {
            let batch;
            let decide = |queue: &mut Queue, closed| self.decide(queue, closed, &mut dropped);
            // Who is bound to cores or a memory node must run at its own seat, and nobody else there.
            (batch, seat) = match seat.is_bound() {
                true => self.handoff.take_staying(seat, decide)?,
                false => self.handoff.take(seat, decide)?,
            };
            self.answer_dropped(&mut dropped);
            if !batch.is_empty() {
                self.statistics.dequeued(batch.len());
                return Some((batch, seat));
            }
        }
    }

    fn put_back(&self, requests: Vec<Request>) {
        for request in requests {
            if let Err(rejected) = self.submit(request) {
                let Rejected { request, error } = *rejected;
                request.respond.send(Err(error));
            }
        }
    }
}

/// Why a request was dropped from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Nobody waits for the answer.
    Cancelled,
    /// It waited longer than it may.
    Expired(Duration),
}

impl DropReason {
    fn explain(self) -> (FailureReason, Error) {
        match self {
            Self::Cancelled => (
                FailureReason::Canceled,
                Error::cancelled("cancelled", "Request was cancelled"),
            ),
            Self::Expired(waited) => (
                FailureReason::Rejected,
                Error::unavailable(
                    "queue_timeout",
                    format!(
                        "Request timeout expired: it waited {} µs in the queue",
                        waited.as_micros()
                    ),
                ),
            ),
        }
    }
}
