//! What a model version has done since it was loaded: the numbers behind the statistics extension
//! and the `nv_inference_*` metrics. Written once per executed batch, read on demand.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::ResponseStatistics;
use crate::telemetry::Histogram;

/// Why a request failed: the values of the `reason` label of `nv_inference_request_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// Refused or expired in the queue.
    Rejected,
    /// The client went away.
    Canceled,
    /// The backend failed.
    Backend,
    /// Anything else.
    Other,
}

impl FailureReason {
    /// All of them, in the order of [`Snapshot::failures`].
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// One request of an executed batch.
#[derive(Clone, Copy, Debug)]
pub struct RequestTiming {
    /// From the front door to the answer.
    pub total: Duration,
    /// In the queue.
    pub queue: Duration,
}

/// One executed batch; its compute times are charged to each of its requests, as Triton does.
#[derive(Clone, Copy, Debug)]
pub struct ExecutionRecord<'a> {
    /// The requests in it.
    pub requests: &'a [RequestTiming],
    /// Rows of all of them.
    pub batch_size: usize,
    /// Gathering the inputs.
    pub compute_input: Duration,
    /// The engine.
    pub compute_infer: Duration,
    /// Scattering the outputs.
    pub compute_output: Duration,
}

#[derive(Debug, Default)]
struct DurationCounter {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl DurationCounter {
    fn add(&self, count: u64, duration: Duration) {
        self.count.fetch_add(count, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds(duration), Relaxed);
    }

    fn snapshot(&self) -> DurationSnapshot {
        DurationSnapshot {
            count: self.count.load(Relaxed),
            nanoseconds: self.nanoseconds.load(Relaxed),
        }
    }
}

/// A count of events and their summed duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationSnapshot {
    /// Events.
    pub count: u64,
    /// Their durations, summed.
    pub nanoseconds: u64,
}

impl DurationSnapshot {
    pub(super) fn add(&mut self, duration: Duration) {
        self.count += 1;
        self.nanoseconds += nanoseconds(duration);
    }
}

/// Executions of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BatchSnapshot {
    pub compute_input: DurationSnapshot,
    pub compute_infer: DurationSnapshot,
    pub compute_output: DurationSnapshot,
}

/// Counters of one model version. Cheap to write from any thread.
#[derive(Debug)]
pub struct Statistics {
    success: DurationCounter,
    fail: DurationCounter,
    queue: DurationCounter,
    compute_input: DurationCounter,
    compute_infer: DurationCounter,
    compute_output: DurationCounter,
    failures: [AtomicU64; 4],
    inference_count: AtomicU64,
    execution_count: AtomicU64,
    last_inference: AtomicU64,
    pending: AtomicU64,
    batches: Mutex<BTreeMap<usize, BatchSnapshot>>,
    responses: ResponseStatistics,
    histograms: Histograms,
}

/// Distributions, in seconds (batch size: rows; first response: milliseconds, as Triton has it).
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Histograms {
    pub request: Histogram,
    pub queue: Histogram,
    pub compute: Histogram,
    pub batch_size: Histogram,
    pub first_response: Histogram,
}

/// A consistent-enough reading of [`Statistics`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Successful requests and their total time.
    pub success: DurationSnapshot,
    /// Failed requests and their total time.
    pub fail: DurationSnapshot,
    /// Queueing of successful requests.
    pub queue: DurationSnapshot,
    /// Gathering inputs, charged per request.
    pub compute_input: DurationSnapshot,
    /// The engine, charged per request.
    pub compute_infer: DurationSnapshot,
    /// Scattering outputs, charged per request.
    pub compute_output: DurationSnapshot,
    /// Failures by reason, in the order of [`FailureReason::ALL`].
    pub failures: [u64; 4],
    /// Rows inferred.
    pub inference_count: u64,
    /// Batches executed.
    pub execution_count: u64,
    /// Milliseconds since the epoch; 0 if there was none.
    pub last_inference: u64,
    /// Requests taken in and not yet executing.
    pub pending: u64,
    /// Executions by batch size.
    pub batches: BTreeMap<usize, BatchSnapshot>,
}

/// 100 µs to 10 s, three a decade.
const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
const BATCH_SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Triton's, in milliseconds.
const FIRST_RESPONSE_BUCKETS: &[f64] = &[100.0, 500.0, 2000.0, 5000.0];

impl Default for Statistics {
    fn default() -> Self {
        Self {
            success: DurationCounter::default(),
            fail: DurationCounter::default(),
            queue: DurationCounter::default(),
            compute_input: DurationCounter::default(),
            compute_infer: DurationCounter::default(),
            compute_output: DurationCounter::default(),
            failures: Default::default(),
            inference_count: AtomicU64::new(0),
            execution_count: AtomicU64::new(0),
            last_inference: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            batches: Mutex::default(),
            responses: ResponseStatistics::default(),
            histograms: Histograms {
                request: Histogram::new(LATENCY_BUCKETS),
                queue: Histogram::new(LATENCY_BUCKETS),
                compute: Histogram::new(LATENCY_BUCKETS),
                batch_size: Histogram::new(BATCH_SIZE_BUCKETS),
                first_response: Histogram::new(FIRST_RESPONSE_BUCKETS),
            },
        }
    }
}

impl Statistics {
    /// A request entered the queue.
    pub fn enqueued(&self) {
        self.pending.fetch_add(1, Relaxed);
    }

    /// `count` requests left the queue, for execution or otherwise.
    pub fn dequeued(&self, count: usize) {
        self.pending.fetch_sub(as_u64(count), Relaxed);
    }

    /// A batch was executed and answered.
    pub fn executed(&self, record: &ExecutionRecord<'_>) {
        self.answered(record);
        self.ran(record);
    }

    /// The requests of `record` were answered.
    pub fn answered(&self, record: &ExecutionRecord<'_>) {
        let count = as_u64(record.requests.len());
        let (mut total, mut queue) = (Duration::ZERO, Duration::ZERO);
        for request in record.requests {
            total += request.total;
            queue += request.queue;
            self.histograms.request.observe(request.total.as_secs_f64());
            self.histograms.queue.observe(request.queue.as_secs_f64());
        }
        self.success.add(count, total);
        self.queue.add(count, queue);
        let charged =
            |duration: Duration| duration.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        self.compute_input.add(count, charged(record.compute_input));
        self.compute_infer.add(count, charged(record.compute_infer));
        self.compute_output
            .add(count, charged(record.compute_output));
        self.inference_count
            .fetch_add(as_u64(record.batch_size), Relaxed);
        self.last_inference
            .store(milliseconds_since_epoch(), Relaxed);
    }

    /// The engine ran a batch, whatever became of its requests.
    pub fn ran(&self, record: &ExecutionRecord<'_>) {
        let compute = record.compute_input + record.compute_infer + record.compute_output;
        self.histograms.compute.observe(compute.as_secs_f64());
        #[allow(clippy::cast_precision_loss)] // a histogram bucket does not need the last digit
        self.histograms.batch_size.observe(record.batch_size as f64);
        self.execution_count.fetch_add(1, Relaxed);
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = batches.entry(record.batch_size).or_default();
        batch.compute_input.add(record.compute_input);
        batch.compute_infer.add(record.compute_infer);
        batch.compute_output.add(record.compute_output);
    }

    /// A request failed after `total`.
    pub fn failed(&self, reason: FailureReason, total: Duration) {
        self.fail.add(1, total);
        let [rejected, canceled, backend, other] = &self.failures;
        let counter = match reason {
            FailureReason::Rejected => rejected,
            FailureReason::Canceled => canceled,
            FailureReason::Backend => backend,
            FailureReason::Other => other,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The numbers now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            success: self.success.snapshot(),
            fail: self.fail.snapshot(),
            queue: self.queue.snapshot(),
            compute_input: self.compute_input.snapshot(),
            compute_infer: self.compute_infer.snapshot(),
            compute_output: self.compute_output.snapshot(),
            failures: self
                .failures
                .each_ref()
                .map(|counter| counter.load(Relaxed)),
            inference_count: self.inference_count.load(Relaxed),
            execution_count: self.execution_count.load(Relaxed),
            last_inference: self.last_inference.load(Relaxed),
            pending: self.pending.load(Relaxed),
            batches: self
                .batches
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// The first response to a request is being sent, so long after it was received.
    pub fn first_response(&self, after: Duration) {
        let milliseconds = after.as_secs_f64() * 1e3;
        self.histograms.first_response.observe(milliseconds);
    }

    /// What each response of a decoupled model took.
    pub fn responses(&self) -> &ResponseStatistics {
        &self.responses
    }

    /// The distributions.
    pub fn histograms(&self) -> &Histograms {
        &self.histograms
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn milliseconds_since_epoch() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_the_whole_batch_to_each_of_its_requests() {
        let statistics = Statistics::default();
        let timing = RequestTiming {
            total: Duration::from_nanos(100),
            queue: Duration::from_nanos(10),
        };
        statistics.executed(&ExecutionRecord {
            requests: &[timing, timing],
            batch_size: 4,
            compute_input: Duration::from_nanos(5),
            compute_infer: Duration::from_nanos(50),
            compute_output: Duration::from_nanos(7),
        });
        let snapshot = statistics.snapshot();
        assert_eq!(
            snapshot.success,
            DurationSnapshot {
                count: 2,
                nanoseconds: 200
            }
        );
        assert_eq!(
            snapshot.compute_infer,
            DurationSnapshot {
                count: 2,
                nanoseconds: 100
            }
        );
        assert_eq!((snapshot.inference_count, snapshot.execution_count), (4, 1));
        assert_eq!(
            snapshot.batches[&4].compute_infer,
            DurationSnapshot {
                count: 1,
                nanoseconds: 50
            }
        );
    }

    #[test]
    fn counts_failures_by_reason() {
        let statistics = Statistics::default();
        statistics.failed(FailureReason::Canceled, Duration::from_nanos(3));
        statistics.failed(FailureReason::Backend, Duration::from_nanos(4));
        let snapshot = statistics.snapshot();
        assert_eq!(snapshot.failures, [0, 1, 1, 0]);
        assert_eq!(
            snapshot.fail,
            DurationSnapshot {
                count: 2,
                nanoseconds: 7
            }
        );
    }
}
