//! Where a model's files are.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

/// A model's folder: one that is somebody else's, or a temporary one that is removed with its last
/// holder. A loaded model holds its folder.
#[derive(Clone, Debug)]
pub enum ModelFolder {
    /// Of a repository.
    Kept(PathBuf),
    /// Of files that came with a load call.
    Temporary(Arc<TempDir>),
}

impl Deref for ModelFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl From<PathBuf> for ModelFolder {
    fn from(path: PathBuf) -> Self {
        Self::Kept(path)
    }
}

impl From<TempDir> for ModelFolder {
    fn from(folder: TempDir) -> Self {
        Self::Temporary(Arc::new(folder))
    }
}
