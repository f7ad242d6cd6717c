//! The room's settings.

use std::{path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    inference::ModelName,
};

/// Where models come from, and who says which are loaded.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folders that hold model folders.
    pub repositories: Vec<PathBuf>,
    /// Who decides which models are loaded.
    pub control_mode: ControlMode,
    /// Models to load at start, in mode explicit only; `*` alone is all of them.
    pub load_models: Vec<String>,
    /// Use `configs/<this>.pbtxt` of a model, where there is one, instead of its `config.pbtxt`.
    pub config_name: Option<String>,
    /// How often the folders are read even though nothing was heard of a change. Not zero, and at
    /// most a day.
    #[serde(rename = "poll_interval_seconds", with = "seconds")]
    pub poll_interval: Duration,
    /// How long nothing must have changed in a model's folder before it is loaded, in mode poll.
    #[serde(rename = "settle_seconds", with = "seconds")]
    pub settle: Duration,
    /// Most model versions that are loaded at once. Not zero.
    pub load_thread_count: usize,
    /// Most bytes of one configuration, in a file or in a load call.
    pub config_byte_limit: usize,
}

/// Who decides which models are loaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlMode {
    /// All models are loaded at start; later changes are ignored.
    #[default]
    None,
    /// All models are loaded at start; later changes of the folders are followed.
    Poll,
    /// Models are loaded and unloaded by name, at start and by clients.
    Explicit,
}

/// What an explicit start is to load.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    These(Vec<ModelName>),
}

/// Longer waits make no sense here, and sums of time points stay in range.
pub(super) const DURATION_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Config {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            control_mode: ControlMode::None,
            load_models: Vec::new(),
            config_name: None,
            poll_interval: Duration::from_secs(15),
            settle: Duration::from_millis(500),
            load_thread_count: 4,
            config_byte_limit: 4 << 20,
        }
    }
}

impl Config {
    /// Checks what the types cannot, and says what to load at start.
    pub(super) fn check(&self) -> Result<Wanted> {
        let wrong = |message: &str| Err(Error::invalid_argument("repository_config", message));
        if self.repositories.is_empty() {
            return wrong("at least one model repository is needed");
        }
        if self.load_thread_count == 0 {
            return wrong("load_thread_count must be at least 1");
        }
        if self.poll_interval.is_zero() || self.poll_interval > DURATION_LIMIT {
            return wrong("poll_interval_seconds must be more than 0 and at most a day");
        }
        if self.settle > DURATION_LIMIT {
            return wrong("settle_seconds must be at most a day");
        }
        if self.control_mode != ControlMode::Explicit {
            return if self.load_models.is_empty() {
                Ok(Wanted::All)
            } else {
                wrong("load_models needs control_mode explicit")
            };
        }
        if !self.load_models.iter().any(|name| name == "*") {
            let names = self.load_models.iter().map(|name| ModelName::new(name));
            return names.collect::<Result<_>>().map(Wanted::These);
        }
        if self.load_models.len() > 1 {
            return wrong("the wildcard '*' must be the only model in load_models");
        }
        Ok(Wanted::All)
    }
}

impl FromStr for ControlMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "poll" => Ok(Self::Poll),
            "explicit" => Ok(Self::Explicit),
            _ => Err(format!(
                "unknown control mode '{text}', expected 'none', 'poll' or 'explicit'"
            )),
        }
    }
}

/// Durations as (fractional) seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
