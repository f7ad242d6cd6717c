//! Writes what was chosen into a model's `config.pbtxt`: all of it or nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::NamedTempFile;

use crate::model_config::{Edit, from_pbtxt};

const FILE: &str = "config.pbtxt";
/// The file as it was before the first time.
const BACKUP: &str = "config.pbtxt.before-tune";
/// Other files that hold a configuration.
const OTHERS: [&str; 3] = ["config.yaml", "config.yml", "config.json"];

/// Changes the configuration in a model's folder, or makes one. The text as it was is kept beside it the
/// first time. Returns the file.
///
/// # Errors
/// If there is a configuration in another form, or it cannot be changed without losing something of it;
/// nothing is written then.
pub fn write(folder: &Path, edit: &Edit) -> Result<PathBuf> {
    for other in OTHERS {
        let other = folder.join(other);
        ensure!(
            !other.exists(),
            "{} is not rewritten, only a {FILE} is; put the settings into it by hand",
            other.display()
        );
    }
    let path = folder.join(FILE);
    let before = current(&path)?;
    let text = before.as_deref().unwrap_or_default();
    let after = edit.edit_pbtxt(text);
    let after = after.map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    ensure!(
        from_pbtxt(&after, FILE).is_ok(),
        "{} would be malformed",
        path.display()
    );
    if before.is_some() {
        keep(&path, &folder.join(BACKUP))?;
    }
    let written = replace(folder, &path, &after);
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What is in the file now; `None` if there is none.
fn current(path: &Path) -> Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.is_symlink() => bail!(
            "{} is a symbolic link and is not replaced; put the settings into its file by hand",
            path.display()
        ),
        _ => {}
    }
    let text = fs::read_to_string(path);
    text.map(Some).with_context(|| path.display().to_string())
}

fn keep(path: &Path, backup: &Path) -> Result<()> {
    if backup.exists() {
        return Ok(());
    }
    let copied = fs::copy(path, backup);
    copied.with_context(|| format!("cannot write {}", backup.display()))?;
    Ok(())
}

/// A new file takes the old one's place in one step, with its permissions.
fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = NamedTempFile::with_prefix_in(".config.", folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
