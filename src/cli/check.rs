//! `despina check`.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};

use crate::{
    backend::onnxruntime,
    config::Config,
    repository::{ControlMode, IndexEntry, VersionState},
    server::{Rooms, assemble},
    telemetry::logging::Logging,
};

/// Loads every model version as it would be for serving, prints what came of it, and drops it.
pub(super) fn run(repository: &Path, engine: onnxruntime::Config) -> Result<ExitCode> {
    let mut config = Config {
        onnxruntime: engine,
        ..Config::default()
    };
    config.repository.repositories = vec![repository.to_owned()];
    config.repository.control_mode = ControlMode::None;
    "error".clone_into(&mut config.log.filter);
    let logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
    let Rooms {
        registry,
        repository,
        ..
    } = assemble(&config, Arc::new(logging))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("no runtime")?;
    runtime.block_on(repository.initial_load_finished())?;
    let index = registry.index(false);
    print!("{}", report(&index));
    repository.stop(Duration::from_secs(30))?;
    let sound = index
        .iter()
        .all(|entry| entry.state == Some(VersionState::Ready));
    Ok(if sound && !index.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One line a version, and a summary.
fn report(index: &[IndexEntry]) -> String {
    let mut text = String::new();
    let mut bad = 0;
    for entry in index {
        let version = entry
            .version
            .map_or_else(|| "-".to_owned(), |version| version.to_string());
        if entry.state == Some(VersionState::Ready) {
            text.push_str(&format!("ok    {} {version}\n", entry.name));
        } else {
            bad += 1;
            text.push_str(&format!(
                "FAIL  {} {version}: {}\n",
                entry.name, entry.reason
            ));
        }
    }
    match (index.len(), bad) {
        (0, _) => text.push_str("no models found\n"),
        (all, 0) => text.push_str(&format!("{all} model versions can be served\n")),
        (all, bad) => text.push_str(&format!("{bad} of {all} model versions cannot be served\n")),
    }
    text
}
