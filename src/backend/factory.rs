//! The seam to backends that make a model's file from another backend's, while that one serves.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{BackendError, Halt};
use crate::{device::Device, model_config::ModelConfig, tensor::Shape};

/// What makes files for its backend.
pub trait Factory: Send + Sync {
    /// The backend that reads what is made from, and serves until that is done.
    fn source_backend(&self) -> &'static str;

    /// How a file would be made from `source` for a model of that configuration, which is this backend's. Reads
    /// the source, and makes nothing.
    ///
    /// # Errors
    /// Why none can be made.
    fn blueprint(
        &self,
        source: &Path,
        config: &ModelConfig,
    ) -> Result<Arc<dyn Blueprint>, BackendError>;
}

/// A file that can be made.
pub trait Blueprint: fmt::Debug + Send + Sync {
    /// The file, if it was made before.
    fn find(&self) -> Option<Made>;

    /// The file, made if it was not before. Blocks, maybe for minutes, and ends soon after `halt`.
    ///
    /// # Errors
    /// Why it cannot be made, or that it was halted.
    fn make(&self, halt: &Halt) -> Result<Made, BackendError>;

    /// The device that it is for.
    fn device(&self) -> Device;

    /// How far its outputs may differ from the source's, as a fraction of an output's largest magnitude; `None`
    /// if they are not to be compared.
    fn tolerance(&self) -> Option<f64>;

    /// Shapes of inputs that it runs best, by name, without gaps: something to compare with.
    fn sample_shapes(&self) -> Vec<Vec<(String, Shape)>>;

    /// Writes down what came of comparing.
    fn judge(&self, verdict: &Verdict);
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where it is.
    pub file: PathBuf,
    /// What came of comparing it, if that was done.
    pub verdict: Option<Verdict>,
}

/// What came of comparing the outputs of what was made with those of what it was made from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it was compared, and with what: another check gives another verdict.
    pub check: String,
    /// Why it must not be used; `None` if it may.
    pub failure: Option<String>,
}
