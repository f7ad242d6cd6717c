//! `despina device-check`: what there is on this machine for models to run on, and on request what it
//! does and how fast.

mod text;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{
    backend::onnxruntime,
    config::Config,
    device::{
        Inventory,
        measure::{Extent, MeasureError, Measured, measure},
    },
    server::findings,
    telemetry::logging::Logging,
};

#[derive(Args, Debug)]
pub(super) struct DeviceCheckFlags {
    /// Try each GPU with copies, kernels and graphs, and say how long they take. Takes some hundred
    /// MiB of each GPU's memory for a few seconds.
    #[arg(long)]
    measure: bool,
    /// Try no more than it takes to see whether it is right; the times mean little.
    #[arg(long, requires = "measure")]
    short: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// libonnxruntime's file; otherwise it is looked for, and not downloaded.
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    onnxruntime_library: Option<PathBuf>,
}

/// Exits with 0 if there is a GPU that models may use, and all that was tried is right.
pub(super) fn run(flags: &DeviceCheckFlags) -> Result<ExitCode> {
    let config = configuration(flags);
    let _logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
    let found = findings(&config);
    let extent = if flags.short {
        Extent::SHORT
    } else {
        Extent::WHOLE
    };
    let tried = flags.measure.then(|| measure(&Inventory::probe(), extent));
    if flags.json {
        let value = json!({"found": found, "measured": tried.as_deref().map(as_json)});
        println!("{value:#}");
    } else {
        print!("{}", text::found(&found));
        print!(
            "{}",
            tried.as_deref().map(text::measured).unwrap_or_default()
        );
    }
    let is_usable = found.gpus.iter().any(|gpu| gpu.is_usable);
    let is_right = tried.iter().flatten().all(Result::is_ok);
    Ok(ExitCode::from(u8::from(!(is_usable && is_right))))
}

fn configuration(flags: &DeviceCheckFlags) -> Config {
    let mut config = Config {
        onnxruntime: onnxruntime::Config {
            library: flags.onnxruntime_library.clone(),
            download: false,
            ..onnxruntime::Config::default()
        },
        ..Config::default()
    };
    "error".clone_into(&mut config.log.filter);
    config
}

fn as_json(tried: &[Result<Measured, MeasureError>]) -> serde_json::Value {
    let rows = tried.iter().map(|tried| match tried {
        Ok(measured) => json!(measured),
        Err(error) => json!({"error": error.to_string()}),
    });
    rows.collect()
}
