//! The flags on engines: where their libraries are, and Triton's settings for them.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use super::flags::{boolean, set};
use crate::config::Config;

/// Flags on engines.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct BackendFlags {
    /// libonnxruntime's file; otherwise it is looked for.
    #[arg(
        long,
        env = "ORT_DYLIB_PATH",
        value_name = "FILE",
        help_heading = "Backends"
    )]
    onnxruntime_library: Option<PathBuf>,
    /// Whether pip may download ONNX Runtime if it is not found.
    #[arg(long, env = "DESPINA_ONNXRUNTIME_DOWNLOAD", value_name = "BOOL", value_parser = boolean, help_heading = "Backends")]
    onnxruntime_download: Option<bool>,
    /// libnvinfer's file; otherwise it is looked for.
    #[arg(
        long,
        env = "DESPINA_TENSORRT_LIBRARY",
        value_name = "FILE",
        help_heading = "Backends"
    )]
    tensorrt_library: Option<PathBuf>,
    /// libnvonnxparser's file, for building engines; otherwise it is looked for.
    #[arg(
        long,
        env = "DESPINA_ONNX_PARSER_LIBRARY",
        value_name = "FILE",
        help_heading = "Backends"
    )]
    onnx_parser_library: Option<PathBuf>,
    /// The folder that keeps engines that were built; otherwise one in the user's cache.
    #[arg(
        long,
        env = "DESPINA_ENGINE_CACHE",
        value_name = "FOLDER",
        help_heading = "Backends"
    )]
    engine_cache: Option<PathBuf>,
    /// Triton's backend settings: `default-max-batch-size=N`, alone or after `onnxruntime,`;
    /// `tensorrt,plugins=FILE;FILE` and `tensorrt,version-compatible=BOOL`.
    #[arg(long, value_name = "BACKEND,KEY=VALUE", help_heading = "Backends")]
    backend_config: Vec<String>,
}

impl BackendFlags {
    /// Lays the flags over the configuration.
    ///
    /// # Errors
    /// If a setting is unknown, or its value is none.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        if self.onnxruntime_library.is_some() {
            config
                .onnxruntime
                .library
                .clone_from(&self.onnxruntime_library);
        }
        set(&mut config.onnxruntime.download, self.onnxruntime_download);
        if self.tensorrt_library.is_some() {
            config.tensorrt.library.clone_from(&self.tensorrt_library);
        }
        if self.onnx_parser_library.is_some() {
            let parser = &mut config.tensorrt.onnx_parser;
            parser.clone_from(&self.onnx_parser_library);
        }
        if self.engine_cache.is_some() {
            let cache = &mut config.tensorrt.engine_cache;
            cache.clone_from(&self.engine_cache);
        }
        for setting in &self.backend_config {
            apply_setting(config, setting)?;
        }
        Ok(())
    }

    /// One line for each setting of a backend that is not there.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.backend_config.iter().filter_map(|setting| {
            let backend = absent_backend(setting)?;
            Some(format!(
                "--backend-config {setting} has no effect: there is no backend '{backend}'"
            ))
        })
    }
}

/// Backends of Triton's that are not there; what they are told may be anything.
const ABSENT: [&str; 8] = [
    "dali",
    "fil",
    "openvino",
    "python",
    "pytorch",
    "tensorflow",
    "tensorrtllm",
    "vllm",
];

fn absent_backend(setting: &str) -> Option<&str> {
    let (backend, _) = setting.split_once(',')?;
    ABSENT.contains(&backend).then_some(backend)
}

/// Triton's `--backend-config`: `[<backend>,]<key>=<value>`.
fn apply_setting(config: &mut Config, setting: &str) -> Result<()> {
    let (backend, assignment) = setting.split_once(',').unwrap_or(("", setting));
    let wrong = |error: &dyn std::fmt::Display| anyhow!("--backend-config {setting}: {error}");
    let Some((key, value)) = assignment.split_once('=') else {
        bail!("--backend-config {setting}: expected <key>=<value>")
    };
    match (backend, key) {
        (_, "default-max-batch-size") => {
            let size = value.parse().map_err(|error| wrong(&error))?;
            config.models.default_max_batch_size = size;
        }
        ("tensorrt", "plugins") => {
            let files = value.split(';').filter(|file| !file.is_empty());
            config.tensorrt.plugins = files.map(PathBuf::from).collect();
        }
        ("tensorrt", "version-compatible") => {
            let allowed = boolean(value).map_err(|error| wrong(&error))?;
            config.tensorrt.version_compatible = allowed;
        }
        // All models share one pool of threads whatever this says.
        ("onnxruntime", "enable-global-threadpool") => {}
        // Triton's folders for backend libraries and GPU bounds say nothing to this server. Inputs come to
        // the device in one piece, and instances have threads of their own, whatever these say.
        ("", "triton-backend-memory-tracker")
        | (_, "backend-directory" | "min-compute-capability")
        | (
            "tensorrt",
            "additional-dependency-dirs" | "coalesce-request-input" | "execution-policy",
        ) => {}
        _ if absent_backend(setting).is_some() => {}
        _ => bail!(
            "--backend-config {setting}: unknown setting; default-max-batch-size=N, tensorrt,plugins=FILE;FILE \
             and tensorrt,version-compatible=BOOL are known"
        ),
    }
    Ok(())
}
