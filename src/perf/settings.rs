//! What is to be measured, and how.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    data::Data, encryption::Encryption, interrupt::Interrupt, load::Distribution, number::Range,
    request::RequestSettings, sequence::SequenceSettings, shared::SharedMemory,
};
use crate::config::Config;

/// A run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub target: Target,
    /// The models that are asked, at least one.
    pub models: Vec<ModelChoice>,
    /// The levels of load.
    pub load: Load,
    /// How each is measured.
    pub measurement: Measurement,
    /// What requests carry.
    pub data: Data,
    /// What else they have.
    pub request: RequestSettings,
    /// Where their tensors are.
    pub shared_memory: SharedMemory,
    /// Room in shared memory for a row of an output whose size the model does not tell, in bytes.
    pub output_shared_memory_size: u64,
    /// Threads that send; none for half of the processors.
    pub threads: Option<usize>,
    /// Most connections; none for what the protocol needs.
    pub connections: Option<usize>,
    /// How the server's door is spoken to; none if it is not encrypted.
    pub encryption: Option<Encryption>,
    /// How requests form sequences, for models that have some; as perf_analyzer forms them if there is
    /// nothing here.
    pub sequences: Option<SequenceSettings>,
    /// Ends the run before its time.
    pub interrupt: Arc<Interrupt>,
}

/// A server and the way to it.
#[derive(Clone, Debug)]
pub enum Target {
    /// One at `HOST:PORT`, and how it is spoken to.
    Remote(String, Protocol),
    /// One with this configuration in this process, asked without a door. It loads only the models
    /// that are asked.
    Inside(Box<Config>),
}

impl Target {
    /// Where it is.
    pub fn url(&self) -> String {
        match self {
            Self::Remote(url, _) => url.clone(),
            Self::Inside(config) => {
                let folders = config.repository.repositories.iter();
                folders
                    .map(|folder| folder.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            }
        }
    }

    /// How people call the way to it.
    pub fn way(&self) -> &'static str {
        match self {
            Self::Remote(_, protocol) => protocol.name(),
            Self::Inside(_) => "no door, in process",
        }
    }
}

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http,
    /// gRPC, a call for each request.
    Grpc,
    /// gRPC, with requests in streams that stay open.
    GrpcStreaming,
}

impl Protocol {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Grpc => "gRPC",
            Self::GrpcStreaming => "gRPC streaming",
        }
    }
}

/// One of the models that are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelChoice {
    /// Its name.
    pub name: String,
    /// Its version; none leaves the choice to the server.
    pub version: Option<u64>,
    /// How often it is asked, relative to the others.
    pub weight: f64,
}

/// The levels of load.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// So many requests under way at any time.
    Concurrency(Range),
    /// So many requests a second, whatever becomes of them.
    RequestRate(Range, Distribution),
    /// At the intervals in a file.
    Intervals(PathBuf),
    /// The highest rate at which so many per cent of the requests are answered in time.
    Slo(Slo),
}

/// A target, and where to look for the highest rate that meets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// An answer is in time if it takes no longer.
    pub latency: Duration,
    /// So many per cent are to be in time; those that fail are not.
    pub percentile: f64,
    /// Requests a second to begin with.
    pub start: f64,
    /// Requests a second that are not exceeded; infinite for no bound.
    pub most: f64,
    /// How requests are spread.
    pub distribution: Distribution,
}

/// How a level is measured.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// How long a window is.
    pub interval: Duration,
    /// By how many per cent three windows in a row may differ.
    pub stability_percentage: f64,
    /// Windows after which it is enough, stable or not.
    pub max_trials: usize,
    /// The percentile that must be stable; none for the mean.
    pub percentile: Option<f64>,
    /// Levels beyond the first whose latency is higher are not tried.
    pub latency_threshold: Option<Duration>,
    /// Load before the first window.
    pub warmup: Duration,
    /// Requests sent before a level, one after the other on as many connections as it has.
    pub warmup_request_count: u64,
    /// Exactly so many requests instead of windows.
    pub request_count: Option<u64>,
    /// One answer of so many is checked; 0 for none.
    pub verify_every: u64,
}
