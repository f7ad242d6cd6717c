//! What came out at one level of load.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{control::ModelStatistics, histogram::Histogram, load::Distribution};

/// A run's results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked.
    pub server: Server,
    /// Where from.
    pub client: Client,
    /// Names of the models.
    pub models: Vec<String>,
    /// Rows of each request.
    pub batch_size: usize,
    /// Each level, in the order in which it was measured.
    pub levels: Vec<Level>,
    /// What the search for a target came to, if that was asked.
    pub slo: Option<SloResult>,
    /// Whether it was ended before its time; the last level may then be cut short.
    pub is_interrupted: bool,
}

/// The server, as it calls itself.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// As the user gave it.
    pub url: String,
    /// How it was spoken to.
    pub protocol: String,
}

/// The generator and its machine.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Its version.
    pub version: String,
    /// Threads that sent.
    pub threads: usize,
    /// The processor's name.
    pub processor: String,
    /// Processors that it could use.
    pub processor_count: usize,
    /// Seconds since 1970, UTC, when it began.
    pub unix_time: u64,
}

/// What the search for a target came to.
#[derive(Clone, Debug, Serialize)]
pub struct SloResult {
    /// The target, in milliseconds.
    pub latency_ms: f64,
    /// How many per cent must meet it.
    pub percentile: f64,
    /// The highest rate that does, in requests a second; none if no rate does.
    pub request_rate: Option<f64>,
}

/// One level.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// What it was.
    pub load: LevelLoad,
    /// Whether the measurement came to rest, or had a given number of requests.
    pub stable: bool,
    /// Windows that were measured; the numbers are of the last three at most.
    pub window_count: usize,
    /// How long what the numbers are of took.
    pub seconds: f64,
    /// Requests a second that were answered well.
    pub requests_per_second: f64,
    /// The same times the batch size.
    pub inferences_per_second: f64,
    /// Of the requests that were answered well; from when they should have been sent.
    pub latency: Latency,
    /// Of all requests, how long after they were due they were sent: 99 in 100 not later. Microseconds.
    pub send_lag_p99_us: f64,
    /// Requests that were answered well.
    pub request_count: u64,
    /// And those that were not.
    pub failure_count: u64,
    /// Processor time of the generator for each request, in microseconds.
    pub client_cpu_us: Option<f64>,
    /// Processor time of the server's processes, if they are on this machine.
    pub server_cpu_us: Option<f64>,
    /// What the server says of itself.
    pub server: Option<ServerSide>,
    /// Everything that was sent at this level, before and after what the numbers are of too.
    pub totals: LevelTotals,
    /// The same of each model, if there are several.
    pub models: Vec<ModelLevel>,
    /// Latency in microseconds, and the share of requests that did not take longer.
    pub distribution: Vec<(f64, f64)>,
    /// How it went in time.
    pub series: Vec<Moment>,
}

/// What load it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum LevelLoad {
    /// Requests under way.
    Concurrency {
        /// How many.
        value: usize,
    },
    /// Requests a second.
    RequestRate {
        /// How many.
        value: f64,
        /// How they are spread.
        distribution: String,
    },
    /// A trace.
    Intervals {
        /// Requests a second on average.
        value: f64,
    },
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// The percentile that was asked for, and its value.
    pub chosen: Option<(f64, f64)>,
}

/// What the server counted while the level ran, warm-up and all; times in microseconds a request.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct ServerSide {
    pub request_count: u64,
    pub failure_count: u64,
    pub inference_count: u64,
    pub execution_count: u64,
    /// Rows of each execution on average.
    pub mean_batch_size: f64,
    pub total_us: f64,
    pub queue_us: f64,
    pub compute_input_us: f64,
    pub compute_infer_us: f64,
    pub compute_output_us: f64,
}

/// Everything at a level.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LevelTotals {
    /// Requests that were sent.
    pub sent: u64,
    /// Those that were answered well.
    pub done: u64,
    /// Those that were not.
    pub failed: u64,
    /// Why, and how often.
    pub failures: BTreeMap<String, u64>,
    /// Answers that were read and checked.
    pub verified: u64,
    /// Of these, how many differ from the first answer to the same input.
    pub different: u64,
}

/// One model of several.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct ModelLevel {
    pub name: String,
    pub requests_per_second: f64,
    pub request_count: u64,
    pub failure_count: u64,
    pub latency: Latency,
}

/// A short part of the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Its end, in seconds since the level began.
    pub seconds: f64,
    /// Requests a second that were answered well.
    pub requests_per_second: f64,
    /// Median latency in microseconds; none if nothing was answered.
    pub p50_us: Option<f64>,
    /// 99 in 100 are not above.
    pub p99_us: Option<f64>,
    /// Requests that failed.
    pub failure_count: u64,
    /// Whether the numbers of the level are of this part too.
    pub measured: bool,
}

impl Latency {
    /// Of a histogram, with that percentile besides.
    pub(super) fn of(histogram: &Histogram, percentile: Option<f64>) -> Self {
        let at = |percent| microseconds(histogram.percentile(percent));
        Self {
            mean: histogram.mean() / 1e3,
            p50: at(50.0),
            p90: at(90.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: microseconds(histogram.max()),
            chosen: percentile.map(|percent| (percent, at(percent))),
        }
    }

    /// What is held against a threshold: the percentile that was asked for, or the mean.
    pub fn criterion(&self) -> f64 {
        self.chosen.map_or(self.mean, |(_, value)| value)
    }
}

impl ServerSide {
    pub(super) fn of(done: &ModelStatistics) -> Self {
        let per = |(count, nanoseconds): (u64, u64)| nanoseconds as f64 / count.max(1) as f64 / 1e3;
        Self {
            request_count: done.success.0,
            failure_count: done.fail.0,
            inference_count: done.inference_count,
            execution_count: done.execution_count,
            mean_batch_size: done.inference_count as f64 / done.execution_count.max(1) as f64,
            total_us: per(done.success),
            queue_us: per(done.queue),
            compute_input_us: per(done.compute_input),
            compute_infer_us: per(done.compute_infer),
            compute_output_us: per(done.compute_output),
        }
    }
}

impl LevelLoad {
    /// How it is written in a table.
    pub fn label(&self) -> String {
        match self {
            Self::Concurrency { value } => value.to_string(),
            Self::RequestRate { value, .. } | Self::Intervals { value } => format!("{value:.1}"),
        }
    }

    /// What its number means.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Concurrency { .. } => "Concurrency",
            Self::RequestRate { .. } => "Request Rate",
            Self::Intervals { .. } => "Mean Request Rate",
        }
    }
}

impl Distribution {
    /// How it is written.
    pub(super) fn label(self) -> String {
        match self {
            Self::Constant => "constant".to_owned(),
            Self::Poisson => "poisson".to_owned(),
            Self::Gamma(variation) => format!("gamma, variation {variation}"),
        }
    }
}

pub(super) fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}
