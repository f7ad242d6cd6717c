//! What one instance of a model takes on a device.

use std::{fs, path::Path};

use crate::model_config::{ConfigError, ModelConfig};

/// The parameter by which a configuration says what one instance takes, in bytes.
pub const FOOTPRINT_PARAMETER: &str = "footprint_byte_size";

/// Folders below a version's are read so deep.
const DEPTH_LIMIT: usize = 16;

/// Bytes that one instance takes on a device, and how they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footprint {
    /// The configuration says so.
    Declared(u64),
    /// All files of the version, which are its weights for the most part. What the engine takes for
    /// its work comes on top.
    Estimated(u64),
}

impl Footprint {
    /// Of one instance of the version in that folder.
    ///
    /// # Errors
    /// If the configuration's parameter is no number of bytes.
    pub fn of(config: &ModelConfig, version_folder: &Path) -> Result<Self, ConfigError> {
        let Some(text) = config.parameters.get(FOOTPRINT_PARAMETER) else {
            return Ok(Self::Estimated(file_byte_size(version_folder, 0)));
        };
        text.trim().parse().map(Self::Declared).map_err(|_| {
            ConfigError::Invalid(format!(
                "parameter '{FOOTPRINT_PARAMETER}' of model '{}' must be a number of bytes, not '{}'",
                config.name,
                text.escape_debug()
            ))
        })
    }

    /// The bytes.
    pub fn byte_size(self) -> u64 {
        match self {
            Self::Declared(byte_size) | Self::Estimated(byte_size) => byte_size,
        }
    }
}

/// What cannot be read counts as nothing: whether it can be is found out when it is loaded.
fn file_byte_size(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| {
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(metadata) if metadata.is_dir() && depth < DEPTH_LIMIT => {
                file_byte_size(&path, depth + 1)
            }
            _ => 0,
        }
    });
    sizes.fold(0, u64::saturating_add)
}
