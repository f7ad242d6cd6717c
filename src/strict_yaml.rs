//! Reading settings from YAML files, strictly: an unknown or mistyped key is an error with line,
//! column and the nearest valid key, never ignored. Knows no setting itself.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

/// Larger files are not settings.
const MAX_BYTE_SIZE: u64 = 1 << 20;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The text is malformed, or a key or value is unknown.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads a file; what it does not set keeps its default.
///
/// # Errors
/// If it cannot be read or holds anything unknown.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, FileError> {
    let file = path.display().to_string();
    let unreadable = |reason: String| FileError::Unreadable {
        file: file.clone(),
        reason,
    };
    let byte_size = fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if byte_size > MAX_BYTE_SIZE {
        return Err(unreadable(format!(
            "is {byte_size} bytes long, the limit is {MAX_BYTE_SIZE}"
        )));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&text, &file)
}

/// Reads a text; `file` is for messages.
///
/// # Errors
/// If it holds anything unknown.
pub fn parse<T: DeserializeOwned + Default>(text: &str, file: &str) -> Result<T, FileError> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(T::default());
    }
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((1, 1), |place| (place.line(), place.column()));
        FileError::Syntax {
            file: file.to_owned(),
            line,
            column,
            message: explain(&error.to_string()),
        }
    })
}

/// Adds the nearest valid name to serde's message, and takes its place out, which is told apart.
fn explain(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else {
        return message.to_owned();
    };
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, _)| *distance <= unknown.len() / 2 + 1)
        .min();
    match nearest {
        Some((_, nearest)) if message.contains("unknown") => {
            format!("{message}; did you mean `{nearest}`?")
        }
        _ => message.to_owned(),
    }
}
