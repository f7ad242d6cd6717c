//! Placeholder.
use super::ConfigError;
use crate::proto::inference as pb;
use std::path::Path;

/// p
pub fn from_pbtxt(_text: &str, _file: &str) -> Result<pb::ModelConfig, ConfigError> {
    Ok(Default::default())
}
/// p
pub fn from_yaml(_text: &str, _file: &str) -> Result<pb::ModelConfig, ConfigError> {
    Ok(Default::default())
}
/// p
pub fn from_json(_text: &str, _file: &str) -> Result<pb::ModelConfig, ConfigError> {
    Ok(Default::default())
}
/// p
pub fn read_from_folder(
    _folder: &Path,
    _config_name: Option<&str>,
    _limit: usize,
) -> Result<Option<pb::ModelConfig>, ConfigError> {
    Ok(None)
}
/// p
pub fn to_json(_config: &pb::ModelConfig) -> String {
    String::new()
}
