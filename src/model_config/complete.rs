//! Fills in what a configuration leaves out, as Triton does: names and backends from the files,
//! inputs, outputs and batching from the engine.

use std::path::Path;

use super::{
    ConfigError, Environment, agree,
    tensors::data_type_of,
    validate::{check_filenames, is_ensemble, unsupported},
};
use crate::{
    proto::inference::{self as pb, model_config::SchedulingChoice},
    tensor::{Datatype, Shape},
};

/// What an engine says of a model's inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSignature {
    /// Inputs, in the engine's order.
    pub inputs: Vec<EngineTensor>,
    /// Outputs, in the engine's order.
    pub outputs: Vec<EngineTensor>,
    /// Most rows in a batch, 0 if there is no batch dimension; `None` if the engine knows no bound.
    pub max_batch_size: Option<usize>,
}

/// One tensor as an engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub datatype: Datatype,
    /// All dimensions, a batch dimension included; `-1` is variable.
    pub dims: Shape,
    /// Whether its values are read on the host, as shapes are.
    pub is_shape: bool,
}

impl EngineTensor {
    /// Whether its first dimension can be the batch dimension.
    fn is_batchable(&self) -> bool {
        self.dims.first() == Some(&-1)
    }
}

/// A backend that Triton knows by its files.
struct KnownBackend {
    backend: &'static str,
    /// Platforms that mean this backend. The first is filled in if there is a backend only.
    platforms: &'static [&'static str],
    filename: &'static str,
}

/// In the order in which Triton looks for their files.
const KNOWN_BACKENDS: [KnownBackend; 6] = [
    KnownBackend {
        backend: "tensorrt",
        platforms: &["tensorrt_plan"],
        filename: "model.plan",
    },
    KnownBackend {
        backend: "onnxruntime",
        platforms: &["onnxruntime_onnx"],
        filename: "model.onnx",
    },
    KnownBackend {
        backend: "openvino",
        platforms: &[],
        filename: "model.xml",
    },
    KnownBackend {
        backend: "pytorch",
        platforms: &["pytorch_libtorch", "libtorch"],
        filename: "model.pt",
    },
    KnownBackend {
        backend: "pytorch",
        platforms: &["torch_aoti"],
        filename: "model.pt2",
    },
    KnownBackend {
        backend: "python",
        platforms: &[],
        filename: "model.py",
    },
];

/// Backends that need no file and therefore no default file name.
const WITHOUT_FILE: [&str; 3] = ["identity", "repeat", "simulated"];

/// Whether `platform` may stand beside `backend`: any may beside a backend that Triton does not
/// know.
pub(super) fn is_pair(platform: &str, backend: &str) -> bool {
    let mut known = KNOWN_BACKENDS
        .iter()
        .filter(|known| known.backend == backend && !known.platforms.is_empty())
        .peekable();
    known.peek().is_none() || known.any(|known| known.platforms.contains(&platform))
}

/// Triton's first step: the name from the folder, and backend, platform and model file from each
/// other or from what lies in `version_folder`.
///
/// # Errors
/// [`ConfigError::Invalid`] if the name is not the folder's, a file name leads out of the folder, it is
/// an ensemble, or nothing tells which backend to use.
pub fn complete_from_files(
    config: &mut pb::ModelConfig,
    model_name: &str,
    version_folder: &Path,
) -> Result<(), ConfigError> {
    if config.name.is_empty() {
        model_name.clone_into(&mut config.name);
    } else if config.name != model_name {
        return Err(ConfigError::Invalid(format!(
            "unexpected directory name '{model_name}' for model '{}', directory name must equal \
             model name",
            config.name
        )));
    }
    check_filenames(config)?;
    // It has no backend, and no file that would tell of one.
    if config.platform == "ensemble" || is_ensemble(config) {
        return Err(unsupported("ensemble_scheduling"));
    }
    if config.backend.is_empty() {
        infer_backend(config, version_folder)?;
    }
    fill_known(config);
    Ok(())
}

fn infer_backend(config: &mut pb::ModelConfig, version_folder: &Path) -> Result<(), ConfigError> {
    let told = |known: &&KnownBackend| {
        known.platforms.contains(&config.platform.as_str())
            || known.filename == config.default_model_filename
    };
    let unsaid = config.platform.is_empty() && config.default_model_filename.is_empty();
    let found = KNOWN_BACKENDS.iter().find(told).or_else(|| {
        unsaid.then(|| {
            KNOWN_BACKENDS
                .iter()
                .find(|known| version_folder.join(known.filename).exists())
        })?
    });
    if let Some(known) = found {
        known.backend.clone_into(&mut config.backend);
        if let (true, Some(platform)) = (config.platform.is_empty(), known.platforms.first()) {
            (*platform).clone_into(&mut config.platform);
        }
        return Ok(());
    }
    match config.name.split_once('.') {
        Some((_, backend)) if unsaid && !backend.is_empty() => {
            config.backend = backend.to_owned();
            if !WITHOUT_FILE.contains(&config.backend.as_str()) {
                config.default_model_filename = format!("model.{}", config.backend);
            }
            Ok(())
        }
        _ => Err(no_backend(config, version_folder)),
    }
}

fn no_backend(config: &pb::ModelConfig, version_folder: &Path) -> ConfigError {
    if !config.platform.is_empty() {
        return ConfigError::Invalid(format!(
            "unexpected platform type '{}' for {}: write the 'backend' that is to run it, such as \
             backend: \"onnxruntime\"",
            config.platform, config.name
        ));
    }
    let files: Vec<_> = KNOWN_BACKENDS.iter().map(|known| known.filename).collect();
    ConfigError::Invalid(format!(
        "could not determine the backend of model '{}': its configuration has no 'backend' and '{}' \
         has no model file ({}); add the file, or write backend: \"onnxruntime\" in its config.pbtxt",
        config.name,
        version_folder.display(),
        files.join(", ")
    ))
}

fn fill_known(config: &mut pb::ModelConfig) {
    let mut known = KNOWN_BACKENDS
        .iter()
        .filter(|known| known.backend == config.backend)
        .peekable();
    let Some(&first) = known.peek() else {
        return;
    };
    if config.platform.is_empty()
        && let Some(platform) = first.platforms.first()
    {
        (*platform).clone_into(&mut config.platform);
    }
    if config.default_model_filename.is_empty() {
        let said = known.find(|known| known.platforms.contains(&config.platform.as_str()));
        said.unwrap_or(first)
            .filename
            .clone_into(&mut config.default_model_filename);
    }
}

/// Triton's second step, by the rules of its ONNX Runtime backend: unless both inputs and outputs
/// are given, fills in those missing, the batch size and the scheduler. Then holds the
/// configuration against the engine.
///
/// # Errors
/// [`ConfigError::Invalid`] with what differs between configuration and engine.
pub fn complete_from_engine(
    config: &mut pb::ModelConfig,
    engine: &EngineSignature,
    environment: &Environment,
) -> Result<(), ConfigError> {
    let given =
        !config.output.is_empty() && (!config.input.is_empty() || !config.batch_input.is_empty());
    if config.max_batch_size > 0 {
        check_batchable(config, engine)?;
        check_max_batch_size(config, engine)?;
    }
    if environment.auto_complete && !given {
        fill_batching(config, engine, environment);
        fill_tensors(config, engine);
    }
    agree::check(config, engine)
}

fn check_batchable(config: &pb::ModelConfig, engine: &EngineSignature) -> Result<(), ConfigError> {
    let inputs = engine.inputs.iter().map(|tensor| ("input", tensor));
    let outputs = engine.outputs.iter().map(|tensor| ("output", tensor));
    match inputs.chain(outputs).find(|(_, t)| !t.is_batchable()) {
        None => Ok(()),
        Some((side, tensor)) => Err(ConfigError::Invalid(format!(
            "model '{}' has 'max_batch_size' {}, but its {side} '{}' has shape {}, whose first \
             dimension is not a variable batch dimension (-1); write max_batch_size: 0",
            config.name, config.max_batch_size, tensor.name, tensor.dims
        ))),
    }
}

/// An engine may have been made for so many rows and no more.
fn check_max_batch_size(
    config: &pb::ModelConfig,
    engine: &EngineSignature,
) -> Result<(), ConfigError> {
    let wanted = usize::try_from(config.max_batch_size).unwrap_or(0);
    match engine.max_batch_size {
        Some(most) if wanted > most => Err(ConfigError::Invalid(format!(
            "unable to load model '{}', configuration specified max-batch {wanted} but the engine only \
             supports max-batch {most}",
            config.name
        ))),
        _ => Ok(()),
    }
}

fn fill_batching(
    config: &mut pb::ModelConfig,
    engine: &EngineSignature,
    environment: &Environment,
) {
    let mut tensors = engine.inputs.iter().chain(&engine.outputs);
    if config.max_batch_size == 0 && tensors.all(EngineTensor::is_batchable) {
        let most = engine.max_batch_size;
        let most = most.unwrap_or(environment.default_max_batch_size);
        config.max_batch_size = i32::try_from(most).unwrap_or(i32::MAX);
    }
    if config.max_batch_size > 1 && config.scheduling_choice.is_none() {
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(
            pb::ModelDynamicBatching::default(),
        ));
    }
}

fn fill_tensors(config: &mut pb::ModelConfig, engine: &EngineSignature) {
    let batched = config.max_batch_size > 0;
    if config.input.is_empty() && config.batch_input.is_empty() {
        let inputs = engine.inputs.iter().map(|tensor| {
            let (dims, reshape) = client_dims(&tensor.dims, batched);
            pb::ModelInput {
                name: tensor.name.clone(),
                data_type: data_type_of(tensor.datatype).into(),
                dims,
                reshape,
                is_shape_tensor: tensor.is_shape,
                ..Default::default()
            }
        });
        config.input = inputs.collect();
    }
    if config.output.is_empty() {
        let outputs = engine.outputs.iter().map(|tensor| {
            let (dims, reshape) = client_dims(&tensor.dims, batched);
            pb::ModelOutput {
                name: tensor.name.clone(),
                data_type: data_type_of(tensor.datatype).into(),
                dims,
                reshape,
                ..Default::default()
            }
        });
        config.output = outputs.collect();
    }
}

/// The dimensions that clients see. Triton knows no scalars: they are shown as `[1]`, and reshaped
/// where the batch dimension leaves the engine something to reshape.
fn client_dims(dims: &[i64], batched: bool) -> (Vec<i64>, Option<pb::ModelTensorReshape>) {
    let rest = if batched {
        dims.get(1..).unwrap_or_default()
    } else {
        dims
    };
    match (rest.is_empty(), batched) {
        (false, _) => (rest.to_vec(), None),
        (true, true) => (vec![1], Some(pb::ModelTensorReshape::default())),
        (true, false) => (vec![1], None),
    }
}
