//! `despina check`.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::{ArgAction, Args};

use super::{flags::boolean, placement_flags::PlacementFlags, plan};
use crate::{
    backend::onnxruntime,
    config::Config,
    repository::{ControlMode, IndexEntry, VersionState},
    server::{Rooms, assemble},
    telemetry::logging::Logging,
};

/// What to check, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckFlags {
    /// The model repository.
    pub(super) repository: PathBuf,
    /// Load nothing, but print where each instance would run. Exits with 0 if all fit.
    #[arg(long)]
    plan: bool,
    /// Plan for these GPUs instead of this machine's: such as 8x80GiB or 2x24GiB,1x80GiB, 0 for
    /// none, or a file that lists them.
    #[arg(long, value_name = "DEVICES", requires = "plan")]
    devices: Option<String>,
    #[command(flatten)]
    placement: PlacementFlags,
    /// libonnxruntime's file; otherwise it is looked for.
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(super) onnxruntime_library: Option<PathBuf>,
    /// Whether pip may download ONNX Runtime if it is not found.
    #[arg(long, env = "DESPINA_ONNXRUNTIME_DOWNLOAD", value_name = "BOOL",
          value_parser = boolean, action = ArgAction::Set, default_value = "true")]
    pub(super) onnxruntime_download: bool,
    /// libnvinfer's file; otherwise it is looked for.
    #[arg(long, env = "DESPINA_TENSORRT_LIBRARY", value_name = "FILE")]
    pub(super) tensorrt_library: Option<PathBuf>,
}

/// Loads every model version as it would be for serving, prints what came of it, and drops it; or
/// only plans.
pub(super) fn run(flags: &CheckFlags) -> Result<ExitCode> {
    let config = configuration(flags)?;
    let logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
    if flags.plan {
        return plan::run(&config, flags.devices.as_deref());
    }
    load(&config, logging)
}

fn configuration(flags: &CheckFlags) -> Result<Config> {
    let mut config = Config {
        onnxruntime: onnxruntime::Config {
            library: flags.onnxruntime_library.clone(),
            download: flags.onnxruntime_download,
            ..onnxruntime::Config::default()
        },
        ..Config::default()
    };
    config.tensorrt.library.clone_from(&flags.tensorrt_library);
    flags.placement.apply(&mut config.placement)?;
    config.repository.repositories = vec![flags.repository.clone()];
    config.repository.control_mode = ControlMode::None;
    "error".clone_into(&mut config.log.filter);
    Ok(config)
}

fn load(config: &Config, logging: Logging) -> Result<ExitCode> {
    let Rooms {
        registry,
        repository,
        ..
    } = assemble(config, Arc::new(logging))?;
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
            let remark = match entry.reason.as_str() {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            text.push_str(&format!("ok    {} {version}{remark}\n", entry.name));
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
