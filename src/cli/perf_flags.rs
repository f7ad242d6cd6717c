//! The flags of `despina perf`. Where they mean what perf_analyzer's mean, they are called the same.

use std::{path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::perf::{
    Data, Distribution, Load, Measurement, ModelChoice, ParameterValue, Protocol, Range,
    RequestSettings, Settings, SharedMemory, Slo, Source, Target, TensorFormat, zipf_weight,
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
    /// The server's HOST:PORT [default: localhost:8000, or localhost:8001 over gRPC].
    #[arg(short = 'u', long = "url", value_name = "HOST:PORT")]
    url: Option<String>,
    /// How it is spoken to.
    #[arg(
        short = 'i',
        long = "protocol",
        value_name = "PROTOCOL",
        default_value = "http"
    )]
    protocol: ProtocolFlag,
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
struct DataFlags {
    /// Rows of each request.
    #[arg(short = 'b', long, value_name = "COUNT", default_value_t = 1)]
    batch_size: usize,
    /// The dimensions of an input whose model leaves some open, without the batch dimension. May be
    /// given more than once.
    #[arg(long, value_name = "NAME:D,D,...")]
    shape: Vec<String>,
    /// random, zero, a file of JSON as perf_analyzer reads it, a .npy file, or a folder with a file for
    /// each input. Files may be given more than once.
    #[arg(long, value_name = "DATA", default_value = "random")]
    input_data: Vec<PathBuf>,
    /// Bytes of a random text.
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    string_length: usize,
    /// What each text is.
    #[arg(long, value_name = "TEXT")]
    string_data: Option<String>,
    /// Of all that is random: the same seed gives the same requests at the same times.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SharedMemoryFlag {
    None,
    System,
}

/// `NAME[:VERSION][=WEIGHT]`
#[derive(Clone, Debug, PartialEq)]
struct ModelFlag {
    name: String,
    version: Option<u64>,
    weight: Option<f64>,
}

impl FromStr for ModelFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, weight) = match text.rsplit_once('=') {
            Some((rest, weight)) => {
                let weight = weight
                    .parse()
                    .ok()
                    .filter(|weight: &f64| *weight > 0.0 && weight.is_finite());
                (rest, Some(weight.ok_or("a weight is a number above 0")?))
            }
            None => (text, None),
        };
        let (name, version) = match rest.rsplit_once(':') {
            Some((name, version)) => {
                let version = version.parse().map_err(|_| "a version is a whole number")?;
                (name, Some(version))
            }
            None => (rest, None),
        };
        if name.is_empty() {
            return Err("a model has a name".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            version,
            weight,
        })
    }
}

impl PerfFlags {
    /// The settings that they stand for.
    ///
    /// # Errors
    /// If one is malformed, or two contradict each other.
    pub(super) fn settings(&self) -> Result<Settings> {
        let protocol = match (self.protocol, self.streaming) {
            (ProtocolFlag::Http, true) => bail!("--streaming is for gRPC: add -i grpc"),
            (ProtocolFlag::Http, false) => Protocol::Http,
            (ProtocolFlag::Grpc, false) => Protocol::Grpc,
            (ProtocolFlag::Grpc, true) => Protocol::GrpcStreaming,
        };
        let port = if protocol == Protocol::Http {
            8000
        } else {
            8001
        };
        let url = self
            .url
            .clone()
            .unwrap_or_else(|| format!("localhost:{port}"));
        let data = &self.data;
        ensure!(data.batch_size > 0, "-b must be 1 at least");
        ensure!(
            self.load.max_threads != Some(0),
            "--max-threads must be 1 at least"
        );
        ensure!(
            self.load.connections != Some(0),
            "--connections must be 1 at least"
        );
        Ok(Settings {
            target: Target { url, protocol },
            models: self.models()?,
            load: self.load.load()?,
            measurement: self.measurement(),
            data: data.data()?,
            request: RequestSettings {
                input_format: data.input_tensor_format.into(),
                output_format: data.output_tensor_format.into(),
                headers: self
                    .headers
                    .iter()
                    .map(|text| header(text))
                    .collect::<Result<_>>()?,
                parameters: data.parameters()?,
            },
            shared_memory: match data.shared_memory {
                SharedMemoryFlag::None => SharedMemory::None,
                SharedMemoryFlag::System => SharedMemory::System,
            },
            output_shared_memory_size: data.output_shared_memory_size,
            threads: self.load.max_threads,
            connections: self.load.connections,
        })
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

impl DataFlags {
    fn data(&self) -> Result<Data> {
        let source = match &self.input_data[..] {
            [only] if only.as_os_str() == "random" => Source::Random,
            [only] if only.as_os_str() == "zero" => Source::Zero,
            paths => Source::Files(paths.to_vec()),
        };
        Ok(Data {
            source,
            batch_size: self.batch_size,
            shapes: self
                .shape
                .iter()
                .map(|text| shape(text))
                .collect::<Result<_>>()?,
            string_length: self.string_length,
            string_data: self.string_data.clone(),
            seed: self.seed,
        })
    }

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

/// `NAME:D,D,...`
fn shape(text: &str) -> Result<(String, Vec<i64>)> {
    let parsed = text.rsplit_once(':').and_then(|(name, dims)| {
        let dims: Option<Vec<i64>> = dims.split(',').map(|dim| dim.trim().parse().ok()).collect();
        Some((name.to_owned(), dims?))
    });
    match parsed {
        Some(shape) if shape.1.iter().all(|&dim| dim >= 0) => Ok(shape),
        _ => bail!("--shape {text}: it is NAME:D,D,... with whole numbers"),
    }
}

/// `NAME:VALUE`, which may not smuggle in another field.
fn header(text: &str) -> Result<(String, String)> {
    let printable = text
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    match text.split_once(':') {
        Some((name, value)) if printable && !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => bail!("-H {text}: it is NAME:VALUE in visible ASCII"),
    }
}

/// `NAME:VALUE:TYPE`
fn parameter(text: &str) -> Result<(String, ParameterValue)> {
    let parsed = text.rsplit_once(':').and_then(|(rest, kind)| {
        let (name, value) = rest.split_once(':')?;
        let value = match kind {
            "bool" => ParameterValue::Bool(value.parse().ok()?),
            "int" => ParameterValue::Int(value.parse().ok()?),
            "string" => ParameterValue::Text(value.to_owned()),
            _ => return None,
        };
        Some((name.to_owned(), value))
    });
    match parsed {
        Some(parameter) => Ok(parameter),
        None => {
            bail!("--request-parameter {text}: it is NAME:VALUE:TYPE, the type bool, int or string")
        }
    }
}
