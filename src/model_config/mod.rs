//! A model's configuration: read from `config.pbtxt`, `config.yaml` or JSON, completed from the
//! model itself, checked once, and then typed. Touches no engine and keeps no state.

mod agree;
mod batching;
mod bind;
mod complete;
mod edit;
mod fault;
mod filename;
mod folder;
mod outline;
mod parse;
mod pbtxt;
mod place;
mod scalar;
mod show;
mod suggest;
mod tensors;
#[cfg(test)]
mod tests;
mod validate;
mod warmup;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    complete::{EngineSignature, EngineTensor, complete_from_engine, complete_from_files},
    edit::Edit,
    filename::stays_inside,
    folder::read_from_folder,
    parse::{from_json, from_pbtxt, from_yaml},
    place::FALLBACK_PARAMETER,
    show::to_json,
    suggest::did_you_mean,
};
use crate::{
    proto::inference as pb,
    tensor::{Datatype, Shape},
};

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The text is malformed, or a key or value is unknown.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file (or `config` for an override sent by a client).
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong, with the offending key and the nearest valid one.
        message: String,
    },
    /// The fields contradict each other, the model, or what this server supports.
    #[error("{0}")]
    Invalid(String),
}

/// A complete and valid model configuration.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The configuration as the protocol shows it: completed and normalised.
    pub proto: pb::ModelConfig,
    /// The model's name.
    pub name: String,
    /// The backend that runs it, e.g. `onnxruntime`.
    pub backend: String,
    /// The legacy platform name, e.g. `onnxruntime_onnx`; may be empty.
    pub platform: String,
    /// Which of the versions present are to be served.
    pub version_policy: VersionPolicy,
    /// Most rows in a batch; 0 if the model has no batch dimension.
    pub max_batch_size: usize,
    /// Inputs, in the configuration's order.
    pub inputs: Vec<InputSpec>,
    /// Outputs, in the configuration's order.
    pub outputs: Vec<OutputSpec>,
    /// How requests become batches.
    pub scheduling: Scheduling,
    /// Where instances run, and how many.
    pub instance_groups: Vec<InstanceGroup>,
    /// Backend-specific parameters.
    pub parameters: BTreeMap<String, String>,
    /// Requests to run before the model is ready.
    pub warmup: Vec<WarmupSample>,
    /// Whether a request may have any number of responses.
    pub decoupled: bool,
}

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its element type.
    pub datatype: Datatype,
    /// The shape that clients send, batch dimension excluded; `-1` is variable.
    pub dims: Shape,
    /// The shape that the engine sees instead, batch dimension excluded.
    pub reshape: Option<Shape>,
    /// Whether requests may leave it out.
    pub optional: bool,
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its element type.
    pub datatype: Datatype,
    /// The shape that clients receive, batch dimension excluded.
    pub dims: Shape,
    /// The shape that the engine produces instead, batch dimension excluded.
    pub reshape: Option<Shape>,
    /// File with one label per line, relative to the model's folder.
    pub label_filename: Option<String>,
}

/// How requests become batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Each request is executed by itself.
    Default,
    /// Requests of equal shape are executed together.
    Dynamic(DynamicBatching),
}

/// Triton's dynamic batcher settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicBatching {
    /// Batch sizes worth waiting for, ascending, never empty.
    pub preferred_batch_sizes: Vec<usize>,
    /// How long the oldest request may wait for a better batch.
    pub max_queue_delay: Duration,
    /// Whether answers leave in the order in which requests came.
    pub preserve_ordering: bool,
    /// Number of priority levels; 0 if there are none.
    pub priority_levels: u64,
    /// Level of requests that name none.
    pub default_priority_level: u64,
    /// Policy of levels without one of their own; `None` if the configuration sets none.
    pub default_queue_policy: Option<QueuePolicy>,
    /// Policies by level.
    pub priority_queue_policy: BTreeMap<u64, QueuePolicy>,
}

/// Limits of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// What happens to a request that waited too long.
    pub timeout_action: TimeoutAction,
    /// How long a request may wait, unless it says less; `None` for ever.
    pub default_timeout: Option<Duration>,
    /// Whether a request's own timeout counts.
    pub allow_timeout_override: bool,
    /// Most requests in the queue; `None` for the server's default.
    pub max_queue_size: Option<usize>,
}

/// What happens to a request that waited too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It fails.
    #[default]
    Reject,
    /// It is served after all that have not expired.
    Delay,
}

/// Instances of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceGroup {
    /// Its name; instances are `<name>_<i>`.
    pub name: String,
    /// Where its instances run.
    pub kind: InstanceKind,
    /// Ordinals of the GPUs, for kind GPU: `count` instances on each. If empty, the server chooses
    /// the GPUs, for `count` instances in all.
    pub gpus: Vec<u32>,
    /// Instances (per device, for kinds that have devices).
    pub count: usize,
    /// Created but given no work.
    pub passive: bool,
    /// The host policy that binds its threads; by its device if not set.
    pub host_policy: Option<String>,
    /// Where instances go whose GPU cannot take them.
    pub fallback: Fallback,
}

/// Where instances run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceKind {
    /// On the CPU.
    Cpu,
    /// On GPUs.
    Gpu,
    /// Wherever the backend itself decides.
    Model,
}

/// Where instances go whose GPU is not there, has no room, or cannot be used by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nowhere: the model does not load.
    None,
    /// To the CPU, if the engine cannot use GPUs here.
    Engine,
    /// To another GPU.
    Gpu,
    /// To another GPU, and if none can take them, to the CPU.
    Any,
}

/// What `KIND_AUTO` means on a machine with GPUs, for groups that name none.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoPlacement {
    /// `count` instances on every GPU, as Triton does it.
    #[default]
    Every,
    /// `count` instances in all, each where there is most room.
    Pack,
}

/// Which of the versions present are to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The numerically highest ones, this many.
    Latest(usize),
    /// All.
    All,
    /// These, as far as they are present.
    Specific(Vec<u64>),
}

/// Requests to run before the model is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupSample {
    /// Its name, for messages.
    pub name: String,
    /// Rows; a sample with 0 is skipped.
    pub batch_size: usize,
    /// How often; at least 1.
    pub count: usize,
    /// Input name to what it holds.
    pub inputs: BTreeMap<String, WarmupInput>,
}

/// One input of a warmup sample.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupInput {
    /// Element type.
    pub datatype: Datatype,
    /// Shape without the batch dimension; all fixed.
    pub dims: Shape,
    /// Where the bytes come from.
    pub data: WarmupData,
}

/// Where a warmup input's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmupData {
    /// All zeros.
    Zero,
    /// Random (BYTES: empty strings).
    Random,
    /// This file under `<model>/warmup/`.
    File(String),
}

/// What normalisation takes from the server rather than from the model.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `max_batch_size` for batchable models that set none (Triton: 4).
    pub default_max_batch_size: usize,
    /// Whether missing fields are filled in from the model.
    pub auto_complete: bool,
    /// Ordinals of the GPUs that may be used.
    pub gpus: Vec<u32>,
    /// What a GPU must be capable of to be among them, for messages.
    pub min_compute_capability: f64,
    /// What `KIND_AUTO` means.
    pub auto_placement: AutoPlacement,
    /// Whether it may mean GPUs: not where the engine cannot use them.
    pub auto_on_gpu: bool,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            default_max_batch_size: 4,
            auto_complete: true,
            gpus: Vec::new(),
            min_compute_capability: 0.0,
            auto_placement: AutoPlacement::Every,
            auto_on_gpu: true,
        }
    }
}

impl ModelConfig {
    /// Normalises and checks a completed configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the field and the rule that it breaks.
    pub fn from_proto(
        proto: pb::ModelConfig,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        validate::normalise(proto, environment)
    }

    /// The version-independent part: which versions to serve.
    pub fn version_policy_of(proto: &pb::ModelConfig) -> Result<VersionPolicy, ConfigError> {
        validate::version_policy(proto)
    }
}
