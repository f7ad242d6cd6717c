//! Model repositories in temporary folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;

use super::{
    once,
    python::{self, python},
};

/// A model repository that is removed with the value.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
    models: PathBuf,
    staged: AtomicUsize,
}

impl Repository {
    /// An empty one.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        // Beside it there is room for staging on the same file system.
        let models = folder.path().join("models");
        fs::create_dir(&models).expect("repository folder");
        Self {
            folder,
            models,
            staged: AtomicUsize::new(0),
        }
    }

    /// One with these models of [`fixtures`].
    pub fn with(models: &[&str]) -> Self {
        let repository = Self::empty();
        for model in models {
            copy_folder(&fixtures().join(model), &repository.path().join(model))
                .unwrap_or_else(|error| panic!("copy model {model}: {error}"));
        }
        repository
    }

    /// One with every model of [`fixtures`] that a server without special flags can serve.
    pub fn with_all() -> Self {
        let repository = Self::empty();
        copy_folder(&fixtures(), repository.path()).expect("copy models");
        repository
    }

    /// Adds one of the sample models that come with the sources.
    pub fn add_sample(&self, model: &str) {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("model_repository");
        copy_folder(&samples.join(model), &self.path().join(model)).expect("copy sample");
    }

    /// The folder to be served.
    pub fn path(&self) -> &Path {
        &self.models
    }

    /// Adds a model without files in its version folders.
    pub fn add(&self, model: &str, config: &str, versions: &[u64]) {
        let folder = self.path().join(model);
        for version in versions {
            fs::create_dir_all(folder.join(version.to_string())).expect("version folder");
        }
        fs::write(folder.join("config.pbtxt"), config).expect("config.pbtxt");
    }

    /// Replaces `file` (a path relative to the repository) at once, as a careful deployer would.
    pub fn replace(&self, file: &str, bytes: &[u8]) {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let staged = self.folder.path().join(format!("staged-{number}"));
        fs::write(&staged, bytes).expect("staged file");
        fs::rename(staged, self.path().join(file)).expect("rename into place");
    }
}

/// The models that `python/make_models.py` makes; made once for all tests.
pub fn fixtures() -> PathBuf {
    let key = [
        include_str!("../python/make_models.py"),
        include_str!("../python/requirements.txt"),
    ];
    let folder = once::folder("models", &key, |folder| {
        python::run(
            Command::new(python().interpreter)
                .arg(python::scripts().join("make_models.py"))
                .arg(folder.join("models")),
        );
    });
    folder.join("models")
}

/// A `config.pbtxt` of the identity backend with one input and one output.
pub fn identity_config(data_type: &str, max_batch_size: u32, rest: &str) -> String {
    format!(
        "backend: \"identity\"\nmax_batch_size: {max_batch_size}\n\
         input {{ name: \"INPUT0\" data_type: {data_type} dims: [ -1 ] }}\n\
         output {{ name: \"OUTPUT0\" data_type: {data_type} dims: [ -1 ] }}\n\
         instance_group {{ kind: KIND_CPU count: 1 }}\n{rest}\n"
    )
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
