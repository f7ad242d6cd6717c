//! Assembles a model version: configuration, backend, instances, scheduler. Blocks; called on a
//! loading thread.

use std::{path::PathBuf, sync::Arc};

use super::Model;
use crate::{
    error::{Error, Result},
    inference::ModelName,
    proto::inference as pb,
};

/// Settings that all models share.
#[derive(Clone, Debug, Default)]
pub struct LoaderConfig {}

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The model's name.
    pub name: ModelName,
    /// The version's number.
    pub version: u64,
    /// The model's folder; the version's is `<folder>/<version>`.
    pub model_folder: PathBuf,
    /// The configuration as read, not yet completed; default if there is none.
    pub config: pb::ModelConfig,
}

/// Loads model versions.
pub struct Loader {}

impl Loader {
    /// Loads, warms up and returns the version, ready to serve. Blocks.
    ///
    /// # Errors
    /// Why it cannot be served; nothing stays allocated.
    pub fn load(&self, _request: &LoadRequest) -> Result<Arc<Model>> {
        Err(Error::internal("placeholder", "placeholder"))
    }
}

pub(super) struct Engine {}

impl Engine {
    pub(super) fn stop(&self) {}
}
