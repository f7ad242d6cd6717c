//! Files that come with a load call. They become a folder of the server's own, which the model is
//! loaded from instead of its folder in a repository, and which is removed with the model.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::TempDir;

use super::OverrideFile;
use crate::{model::ModelFolder, model_config::stays_inside};

/// Why files cannot be written, in one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// They contradict each other or the rules on names.
    #[error("{0}")]
    Refused(String),
    /// The file system does not take them.
    #[error("{0}")]
    Failed(String),
}

/// Writes the files into a new folder that only this user can look into. Blocks.
///
/// # Errors
/// Why it cannot be done; nothing is left of it.
pub(super) fn write(files: &[OverrideFile]) -> Result<ModelFolder, UploadError> {
    for file in files {
        if !stays_inside(&file.path) {
            return Err(UploadError::Refused(format!(
                "Invalid file parameter 'file:{}' must stay within model directory.",
                file.path.escape_debug()
            )));
        }
    }
    let folder = private_folder().map_err(|error| {
        let place = std::env::temp_dir();
        UploadError::Failed(format!(
            "no temporary folder in {}: {error}",
            place.display()
        ))
    })?;
    for file in files {
        write_file(folder.path(), file).map_err(|error| not_written(file, &error))?;
    }
    Ok(folder.into())
}

fn not_written(file: &OverrideFile, error: &io::Error) -> UploadError {
    let reason = format!("Invalid file parameter 'file:{}': {error}", file.path);
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => UploadError::Refused(reason),
        _ => UploadError::Failed(reason),
    }
}

fn private_folder() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("despina-model-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

fn write_file(folder: &Path, file: &OverrideFile) -> io::Result<()> {
    let path = folder.join(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Two names of one file are a mistake that should not go unseen.
    let mut target = OpenOptions::new().write(true).create_new(true).open(path)?;
    target.write_all(&file.contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<OverrideFile> {
        let file = |name: &&str| OverrideFile {
            path: (*name).to_owned(),
            contents: name.as_bytes().to_vec().into(),
        };
        names.iter().map(file).collect()
    }

    #[test]
    fn files_lie_where_they_are_named_until_the_last_holder_goes() {
        let folder = write(&files(&["1/model.onnx", "1/data/weights", "labels.txt"])).unwrap();
        for name in ["1/model.onnx", "1/data/weights", "labels.txt"] {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), name);
        }
        let mode = fs::metadata(&*folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let (path, other) = (folder.to_path_buf(), folder.clone());
        drop(folder);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn no_name_leads_outside() {
        for name in [
            "../x",
            "1/../../x",
            "/etc/x",
            "",
            ".",
            "1/./../..",
            "a\0b",
            "a\\b",
        ] {
            let error = write(&files(&["1/model", name])).unwrap_err();
            assert!(
                matches!(&error, UploadError::Refused(why) if why.contains("must stay within model directory")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_name_is_a_file_or_a_folder_and_only_once() {
        for names in [["1", "1/model"], ["1/model", "1"], ["1/model", "1//model"]] {
            let error = write(&files(&names)).unwrap_err();
            assert!(
                matches!(&error, UploadError::Refused(why) if why.starts_with("Invalid file parameter 'file:1")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_the_file_system_does_not_take_is_not_the_clients_mistake() {
        let error = write(&files(&[&"A".repeat(256)])).unwrap_err();
        assert!(matches!(error, UploadError::Failed(_)), "{error}");
    }
}
