//! Reading numbers from a configuration's string parameters.

use std::{str::FromStr, time::Duration};

use super::BackendError;
use crate::model_config::ModelConfig;

/// The parameter's value, if it is set.
///
/// # Errors
/// [`BackendError::InvalidModel`] that names parameter and value if it cannot be read.
pub(super) fn parameter<T: FromStr>(
    config: &ModelConfig,
    name: &str,
) -> Result<Option<T>, BackendError> {
    let Some(text) = config.parameters.get(name) else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        BackendError::InvalidModel(format!(
            "parameter '{name}' of model '{}' has value '{text}', expected a {}",
            config.name,
            std::any::type_name::<T>()
        ))
    })
}

/// A duration given as a number of `unit`s; zero if it is not set.
///
/// # Errors
/// As [`parameter`].
pub(super) fn duration(
    config: &ModelConfig,
    name: &str,
    unit: Duration,
) -> Result<Duration, BackendError> {
    let count = parameter::<u32>(config, name)?.unwrap_or(0);
    Ok(unit.saturating_mul(count))
}
