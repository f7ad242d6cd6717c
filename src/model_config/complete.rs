//! Fills in what a configuration leaves out, as Triton does: names and backends from the files,
//! inputs, outputs and batching from the engine.

use std::path::Path;

use super::{ConfigError, Environment};
use crate::{
    proto::inference as pb,
    tensor::{Datatype, Shape},
};

/// What an engine says of a model's inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSignature {
    /// Inputs, in the engine's order.
    pub inputs: Vec<EngineTensor>,
    /// Outputs, in the engine's order.
    pub outputs: Vec<EngineTensor>,
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
}

/// p
pub fn complete_from_files(
    _config: &mut pb::ModelConfig,
    _model_name: &str,
    _version_folder: &Path,
) -> Result<(), ConfigError> {
    Ok(())
}
/// p
pub fn complete_from_engine(
    _config: &mut pb::ModelConfig,
    _engine: &EngineSignature,
    _environment: &Environment,
) -> Result<(), ConfigError> {
    Ok(())
}
