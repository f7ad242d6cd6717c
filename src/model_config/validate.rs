//! Placeholder.
use super::{ConfigError, Environment, ModelConfig, VersionPolicy};
use crate::proto::inference as pb;

pub(super) fn normalise(
    _proto: pb::ModelConfig,
    _environment: &Environment,
) -> Result<ModelConfig, ConfigError> {
    Err(ConfigError::Invalid("placeholder".into()))
}
pub(super) fn version_policy(_proto: &pb::ModelConfig) -> Result<VersionPolicy, ConfigError> {
    Ok(VersionPolicy::Latest(1))
}
