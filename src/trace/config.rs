//! The room's settings.

use std::{path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// What is traced from the start, and where it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file; without one nothing can be traced. With `log_frequency` or `count`, files of this
    /// name and a number.
    pub file: Option<PathBuf>,
    /// What is written of a request; nothing is traced without one.
    pub levels: Vec<Level>,
    /// One request of so many is traced. Not zero.
    pub rate: u32,
    /// How many requests are traced; -1 for no end.
    pub count: i64,
    /// Traces per file; 0 for one file.
    pub log_frequency: u32,
    /// Most bytes that are written in all; what comes after is not traced.
    pub byte_limit: u64,
    /// Most bytes of tensors that are kept of one request; what is longer is cut.
    pub tensor_byte_limit: usize,
}

/// What is written of a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// When it came to each stage.
    #[serde(alias = "TIMESTAMPS")]
    Timestamps,
    /// Its inputs and outputs.
    #[serde(alias = "TENSORS")]
    Tensors,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            levels: Vec::new(),
            rate: 1000,
            count: -1,
            log_frequency: 0,
            byte_limit: 1 << 30,
            tensor_byte_limit: 64 << 10,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "TIMESTAMPS" => Ok(Self::Timestamps),
            "TENSORS" => Ok(Self::Tensors),
            _ => Err(format!(
                "unknown trace level '{text}', expected 'OFF', 'TIMESTAMPS' or 'TENSORS'"
            )),
        }
    }
}
