//! The flags of `despina perf`. Where they mean what perf_analyzer's mean, they are called the same.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::{
    data_flags::DataFlags,
    perf_sequence_flags::PerfSequenceFlags,
    perf_tls_flags::PerfTlsFlags,
    perf_values::{ModelFlag, header, parameter},
};
use crate::config::Config;
use crate::perf::{
    Distribution, Encryption, Load, Measurement, ModelChoice, ParameterValue, Protocol, Range,
    RequestSettings, Settings, SharedMemory, Slo, Target, TensorFormat, zipf_weight,
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(super) struct PerfFlags {
    /// A model, with its version and weight if need be: NAME, NAME:VERSION, NAME=WEIGHT or
    /// NAME:VERSION=WEIGHT. May be given more than once: each request is for one of them.
    #[arg(short = 'm', long = "model", value_name = "MODEL", required = true)]
    models: Vec<ModelFlag>,
    /// The version of a model that is given without one.
    #[arg(short = 'x', long = "model-version", value_name = "VERSION")]
    version: Option<u64>,
    /// Ask several models by Zipf's law with this exponent, in the order in which they are given.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// The server's HOST:PORT [default: localhost:8000, or localhost:8001 over gRPC]; with https:// or
    /// grpcs:// in front its door is encrypted.
    #[arg(short = 'u', long = "url", value_name = "HOST:PORT")]
    url: Option<String>,
    /// How it is spoken to; inprocess asks the models of --model-repository in this process, without a
    /// server.
    #[arg(
        short = 'i',
        long = "protocol",
        value_name = "PROTOCOL",
        default_value = "http"
    )]
    protocol: ProtocolFlag,
    /// The models that are asked in process.
    #[arg(long, value_name = "FOLDER", required_if_eq("protocol", "inprocess"))]
    model_repository: Option<PathBuf>,
    /// libonnxruntime's file, in process; otherwise it is looked for.
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    onnxruntime_library: Option<PathBuf>,
    /// Send requests in streams that stay open; over gRPC.
    #[arg(long)]
    streaming: bool,
    /// A header field of every request, or metadata over gRPC. May be given more than once.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    load: LoadFlags,
    #[command(flatten)]
    measurement: MeasurementFlags,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    travel: TravelFlags,
    #[command(flatten)]
    sequences: PerfSequenceFlags,
    #[command(flatten)]
    tls: PerfTlsFlags,
    /// Print the results as JSON instead of a table.
    #[arg(long, help_heading = "Reports")]
    pub(super) json: bool,
    /// Write the results to a file of comma-separated values.
    #[arg(
        short = 'f',
        long = "csv",
        value_name = "FILE",
        help_heading = "Reports"
    )]
    pub(super) csv: Option<PathBuf>,
    /// Write the results to a page for a browser.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(super) html: Option<PathBuf>,
    /// Show no progress.
    #[arg(short = 'q', long, help_heading = "Reports")]
    pub(super) quiet: bool,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
struct LoadFlags {
    /// Keep so many requests under way: start:end:step. An end of 0 needs a latency threshold.
    #[arg(long, value_name = "RANGE", conflicts_with_all = ["request_rate_range", "request_intervals", "slo_ms"])]
    concurrency_range: Option<Range>,
    /// Send so many requests a second, whatever becomes of them: start:end:step. With --slo-ms:
    /// where to look.
    #[arg(long, value_name = "RANGE", conflicts_with = "request_intervals")]
    request_rate_range: Option<Range>,
    /// How requests are spread in time.
    #[arg(long, value_name = "DISTRIBUTION", default_value = "constant")]
    request_distribution: DistributionFlag,
    /// The coefficient of variation of a gamma distribution: 1 is Poisson, more comes in bursts.
    #[arg(long, value_name = "NUMBER", default_value_t = 4.0)]
    gamma_variation: f64,
    /// Send requests at the intervals in this file: microseconds, one a line, over and over.
    #[arg(long, value_name = "FILE", conflicts_with = "slo_ms")]
    request_intervals: Option<PathBuf>,
    /// Look for the highest request rate at which answers come within so many milliseconds.
    #[arg(long, value_name = "MILLISECONDS")]
    slo_ms: Option<f64>,
    /// How many per cent of them must.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.0)]
    slo_percentile: f64,
    /// Stop a range after the first level with a higher latency, in milliseconds.
    #[arg(short = 'l', long, value_name = "MILLISECONDS")]
    latency_threshold: Option<f64>,
    /// Threads that send [default: half of the processors].
    #[arg(long, value_name = "COUNT")]
    max_threads: Option<usize>,
    /// Most connections [default: what the concurrency needs; 256 for request rates].
    #[arg(long, value_name = "COUNT")]
    connections: Option<usize>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Measurement")]
struct MeasurementFlags {
    /// How long a window is, in milliseconds.
    #[arg(short = 'p', long, value_name = "MILLISECONDS", default_value_t = 5000)]
    measurement_interval: u64,
    /// By how many per cent three windows in a row may differ, in requests a second and in latency.
    #[arg(short = 's', long, value_name = "PERCENT", default_value_t = 10.0)]
    stability_percentage: f64,
    /// Windows after which it is enough, stable or not.
    #[arg(short = 'r', long, value_name = "COUNT", default_value_t = 10)]
    max_trials: usize,
    /// Which percentile of the latency must be stable, and is held against a threshold [default: the
    /// mean].
    #[arg(long, value_name = "PERCENT")]
    percentile: Option<f64>,
    /// Load before the first window, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    warmup_interval: u64,
    /// Requests before each level, besides.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    warmup_request_count: u64,
    /// Measure exactly so many requests instead of windows.
    #[arg(long, value_name = "COUNT")]
    request_count: Option<u64>,
    /// Check one answer of so many; 0 for none.
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    verify_every: u64,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data")]
struct TravelFlags {
    /// How inputs travel over HTTP.
    #[arg(long, value_name = "FORMAT", default_value = "binary")]
    input_tensor_format: FormatFlag,
    /// How outputs travel over HTTP.
    #[arg(long, value_name = "FORMAT", default_value = "binary")]
    output_tensor_format: FormatFlag,
    /// A parameter of every request; the type is bool, int or string. May be given more than once.
    #[arg(long, value_name = "NAME:VALUE:TYPE")]
    request_parameter: Vec<String>,
    /// Where tensors are: in the requests, or in memory that they name.
    #[arg(long, value_name = "KIND", default_value = "none")]
    shared_memory: SharedMemoryFlag,
    /// Room in shared memory for a row of an output whose size the model does not tell, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 102_400)]
    output_shared_memory_size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolFlag {
    Http,
    Grpc,
    Inprocess,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DistributionFlag {
    Constant,
    Poisson,
    Gamma,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatFlag {
    Binary,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SharedMemoryFlag {
    None,
    System,
    Cuda,
}

impl PerfFlags {
    /// The settings that they stand for.
    ///
    /// # Errors
    /// If one is malformed, or two contradict each other.
    pub(super) fn settings(&self) -> Result<Settings> {
        let travel = &self.travel;
        let percentiles = self.measurement.percentile.iter();
        for &percent in percentiles.chain([&self.load.slo_percentile]) {
            ensure!(
                percent > 0.0 && percent <= 100.0,
                "a percentile of {percent} is not above 0 and at most 100"
            );
        }
        ensure!(
            self.load.max_threads != Some(0),
            "--max-threads must be 1 at least"
        );
        ensure!(
            self.load.connections != Some(0),
            "--connections must be 1 at least"
        );
        Ok(Settings {
            target: self.target()?,
            models: self.models()?,
            load: self.load.load()?,
            measurement: self.measurement(),
            data: self.data.data()?,
            request: RequestSettings {
                input_format: travel.input_tensor_format.into(),
                output_format: travel.output_tensor_format.into(),
                headers: self
                    .headers
                    .iter()
                    .map(|text| header(text))
                    .collect::<Result<_>>()?,
                parameters: travel.parameters()?,
            },
            shared_memory: match travel.shared_memory {
                SharedMemoryFlag::None => SharedMemory::None,
                SharedMemoryFlag::System => SharedMemory::System,
                SharedMemoryFlag::Cuda => SharedMemory::Cuda,
            },
            output_shared_memory_size: travel.output_shared_memory_size,
            threads: self.load.max_threads,
            connections: self.load.connections,
            encryption: self.encryption()?,
            sequences: self.sequences.settings()?,
            interrupt: Arc::default(),
        })
    }

    fn target(&self) -> Result<Target> {
        if let (ProtocolFlag::Inprocess, Some(repository)) = (self.protocol, &self.model_repository)
        {
            ensure!(
                self.url.is_none() && self.travel.shared_memory == SharedMemoryFlag::None,
                "in process there is no server: leave out -u and --shared-memory"
            );
            let mut config = Config::default();
            config.repository.repositories = vec![repository.clone()];
            config
                .onnxruntime
                .library
                .clone_from(&self.onnxruntime_library);
            return Ok(Target::Inside(Box::new(config)));
        }
        let (protocol, port) = match (self.protocol, self.streaming) {
            (ProtocolFlag::Grpc, false) => (Protocol::Grpc, 8001),
            (ProtocolFlag::Grpc, true) => (Protocol::GrpcStreaming, 8001),
            (_, false) => (Protocol::Http, 8000),
            (_, true) => bail!("--streaming is for gRPC: add -i grpc"),
        };
        let url = self
            .url
            .clone()
            .unwrap_or_else(|| format!("localhost:{port}"));
        Ok(Target::Remote(url, protocol))
    }

    /// How the server's door is encrypted, if it is.
    fn encryption(&self) -> Result<Option<Encryption>> {
        let url = self.url.as_deref().unwrap_or_default();
        match self.protocol {
            ProtocolFlag::Http => self.tls.http(url),
            ProtocolFlag::Grpc => self.tls.grpc(url),
            ProtocolFlag::Inprocess => Ok(None),
        }
    }

    fn models(&self) -> Result<Vec<ModelChoice>> {
        let weighted = self.models.iter().any(|model| model.weight.is_some());
        ensure!(
            !(weighted && self.zipf.is_some()),
            "--zipf gives the models their weights; leave out =WEIGHT"
        );
        let models = self
            .models
            .iter()
            .enumerate()
            .map(|(rank, model)| ModelChoice {
                name: model.name.clone(),
                version: model.version.or(self.version),
                weight: match self.zipf {
                    Some(exponent) => zipf_weight(rank, exponent),
                    None => model.weight.unwrap_or(1.0),
                },
            });
        Ok(models.collect())
    }

    fn measurement(&self) -> Measurement {
        let flags = &self.measurement;
        Measurement {
            interval: Duration::from_millis(flags.measurement_interval.max(10)),
            stability_percentage: flags.stability_percentage,
            max_trials: flags.max_trials.max(1),
            percentile: flags.percentile,
            latency_threshold: self.load.latency_threshold.map(milliseconds),
            warmup: Duration::from_millis(flags.warmup_interval),
            warmup_request_count: flags.warmup_request_count,
            request_count: flags.request_count,
            verify_every: flags.verify_every,
        }
    }
}

impl LoadFlags {
    fn load(&self) -> Result<Load> {
        let distribution = match self.request_distribution {
            DistributionFlag::Constant => Distribution::Constant,
            DistributionFlag::Poisson => Distribution::Poisson,
            DistributionFlag::Gamma => {
                let variation = self.gamma_variation;
                ensure!(
                    variation > 0.0 && variation.is_finite(),
                    "--gamma-variation must be above 0"
                );
                Distribution::Gamma(variation)
            }
        };
        let rates = self.request_rate_range;
        if let Some(target) = self.slo_ms {
            ensure!(target > 0.0, "--slo-ms must be above 0");
            let end = rates.map_or(0.0, |range| range.end);
            let bounded = end > rates.map_or(0.0, |range| range.start);
            return Ok(Load::Slo(Slo {
                latency: milliseconds(target),
                percentile: self.slo_percentile,
                start: rates.map_or(100.0, |range| range.start),
                most: if bounded { end } else { f64::INFINITY },
                distribution,
            }));
        }
        Ok(match (rates, &self.request_intervals) {
            (Some(range), _) => Load::RequestRate(range, distribution),
            (None, Some(path)) => Load::Intervals(path.clone()),
            (None, None) => Load::Concurrency(self.concurrency_range.unwrap_or(Range {
                start: 1.0,
                end: 1.0,
                step: 1.0,
            })),
        })
    }
}

impl TravelFlags {
    fn parameters(&self) -> Result<Vec<(String, ParameterValue)>> {
        self.request_parameter
            .iter()
            .map(|text| parameter(text))
            .collect()
    }
}

impl From<FormatFlag> for TensorFormat {
    fn from(flag: FormatFlag) -> Self {
        match flag {
            FormatFlag::Binary => Self::Binary,
            FormatFlag::Json => Self::Json,
        }
    }
}

fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number / 1e3).unwrap_or_default()
}
