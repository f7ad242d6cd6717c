//! Finds and reads the one configuration file in a model's folder. The only place in this room that
//! reads a file.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    filename::{FileName, escapes},
    from_json, from_pbtxt, from_yaml,
};
use crate::proto::inference as pb;

type Parse = fn(&str, &str) -> Result<pb::ModelConfig, ConfigError>;

/// File names, and how each is read.
const FORMATS: [(&str, Parse); 4] = [
    ("config.pbtxt", from_pbtxt),
    ("config.yaml", from_yaml),
    ("config.yml", from_yaml),
    ("config.json", from_json),
];

/// Reads a model's configuration: `configs/<config_name>.pbtxt` if a name is given and that file
/// exists, otherwise the one of `config.pbtxt`, `config.yaml`, `config.yml` and `config.json`;
/// `None` if there is no such file. `limit_bytes` bounds the file's size.
///
/// # Errors
/// [`ConfigError::Unreadable`] if there are several, or the file is too large, not UTF-8 or not
/// readable; [`ConfigError::Syntax`] from the parser.
pub fn read_from_folder(
    folder: &Path,
    config_name: Option<&str>,
    limit_bytes: usize,
) -> Result<Option<pb::ModelConfig>, ConfigError> {
    let found = match named(folder, config_name)? {
        Some(path) => Some((path, from_pbtxt as Parse)),
        None => unnamed(folder)?,
    };
    let Some((path, parse)) = found else {
        return Ok(None);
    };
    let text = read(&path, limit_bytes)?;
    parse(&text, &path.display().to_string()).map(Some)
}

fn named(folder: &Path, config_name: Option<&str>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(name) = config_name else {
        return Ok(None);
    };
    let file = format!("{name}.pbtxt");
    if escapes(&file, FileName::Bare) {
        return Err(ConfigError::Invalid(format!(
            "model config name '{}' must be a plain file name",
            name.escape_debug()
        )));
    }
    let path = folder.join("configs").join(file);
    Ok(exists(&path)?.then_some(path))
}

fn unnamed(folder: &Path) -> Result<Option<(PathBuf, Parse)>, ConfigError> {
    let mut found = Vec::new();
    for (name, parse) in FORMATS {
        let path = folder.join(name);
        if exists(&path)? {
            found.push((name, path, parse));
        }
    }
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(name, ..)| *name).collect();
        return Err(ConfigError::Unreadable {
            file: folder.display().to_string(),
            reason: format!(
                "more than one model configuration: {}; keep one of them",
                names.join(", ")
            ),
        });
    }
    Ok(found.pop().map(|(_, path, parse)| (path, parse)))
}

fn exists(path: &Path) -> Result<bool, ConfigError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(unreadable(path, error.to_string())),
    }
}

fn read(path: &Path, limit_bytes: usize) -> Result<String, ConfigError> {
    let fault = |error: std::io::Error| unreadable(path, error.to_string());
    let metadata = fs::metadata(path).map_err(fault)?;
    // Opening a pipe would block.
    if !metadata.is_file() {
        return Err(unreadable(path, "is not a regular file".to_owned()));
    }
    let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX);
    if metadata.len() > limit {
        let reason = format!(
            "is {} bytes long, the limit is {limit_bytes}",
            metadata.len()
        );
        return Err(unreadable(path, reason));
    }
    let mut bytes = Vec::new();
    // The file may grow between the look and the read.
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(fault)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| unreadable(path, format!("is not UTF-8: {}", error.utf8_error())))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn unreadable(path: &Path, reason: String) -> ConfigError {
    ConfigError::Unreadable {
        file: path.display().to_string(),
        reason,
    }
}
