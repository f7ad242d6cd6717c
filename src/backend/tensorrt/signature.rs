//! What an engine says of a model's inputs, outputs and batches.

use super::{
    engine::{Engine, EngineTensor},
    profile::Profile,
};
use crate::model_config::{self, EngineSignature};

/// As the configuration is completed from.
pub(super) fn signature(engine: &Engine) -> EngineSignature {
    let shown = |tensor: &EngineTensor| model_config::EngineTensor {
        name: tensor.label(),
        datatype: tensor.datatype,
        dims: tensor.dims.clone(),
        is_shape: tensor.is_on_host,
    };
    let mut tensors = engine.inputs.iter().chain(&engine.outputs);
    let batchable = tensors.all(|tensor| tensor.dims.first() == Some(&-1));
    let max = engine.profiles.iter().filter_map(Profile::max_rows).max();
    EngineSignature {
        inputs: engine.inputs.iter().map(shown).collect(),
        outputs: engine.outputs.iter().map(shown).collect(),
        max_batch_size: Some(
            max.and_then(|max| max.try_into().ok())
                .filter(|_| batchable)
                .unwrap_or(0),
        ),
    }
}
