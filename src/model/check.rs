//! Placeholder.
use crate::{error::Result, inference::Request, model_config::ModelConfig};

pub(super) fn check(_request: &mut Request, _config: &ModelConfig) -> Result<()> {
    Ok(())
}
