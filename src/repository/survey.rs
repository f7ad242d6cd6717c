//! What the repository folders would have served, without serving it.

use super::{Config, source::Source};
use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::LoadRequest,
};

/// A model, and its versions that would be loaded, or why none would be.
pub type Surveyed = (ModelName, Result<Vec<LoadRequest>, String>);

/// Reads the folders once. Models come in the order of their names.
///
/// # Errors
/// If a repository is no folder or cannot be read.
pub fn survey(config: &Config) -> Result<Vec<Surveyed>> {
    config.check()?;
    let source = Source::new(config)?;
    let listing = source.list();
    if !listing.complete {
        return Err(Error::not_found(
            "repository_missing",
            listing.warnings.join("; "),
        ));
    }
    let models = listing.models.into_keys();
    Ok(models
        .map(|name| {
            let versions = versions(&source, &name);
            (name, versions)
        })
        .collect())
}

fn versions(source: &Source, name: &ModelName) -> Result<Vec<LoadRequest>, String> {
    let found = source
        .model(name)
        .ok_or_else(|| "its folder is gone".to_owned())?;
    let aspired = found.aspire(name, None)?;
    Ok(aspired
        .stamps
        .keys()
        .map(|&version| LoadRequest {
            name: name.clone(),
            version,
            model_folder: aspired.folder.clone(),
            config: aspired.config.clone(),
        })
        .collect())
}
