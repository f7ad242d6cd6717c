//! Holds a configuration against the engine that was loaded for it.

use super::BackendError;
use crate::model_config::{self, EngineSignature, ModelConfig, complete_from_engine};

/// What differs is better said now than by a failed request.
///
/// # Errors
/// [`BackendError::InvalidModel`] with the difference.
pub(super) fn check(config: &ModelConfig, engine: &EngineSignature) -> Result<(), BackendError> {
    let as_it_is = model_config::Environment {
        auto_complete: false,
        ..model_config::Environment::default()
    };
    complete_from_engine(&mut config.proto.clone(), engine, &as_it_is)
        .map_err(|error| BackendError::InvalidModel(error.to_string()))
}
