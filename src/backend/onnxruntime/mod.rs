//! ONNX Runtime, found and opened at run time. One session per instance; all sessions share one
//! thread pool and one arena.

#![expect(
    unsafe_code,
    reason = "tensors cross ONNX Runtime's C interface without a copy"
)]

mod executor;
mod library;
mod options;
mod provider_keys;
mod providers;
mod registration;
mod signature;
#[cfg(test)]
mod tests;
mod value;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use ort::{
    environment::{Environment, GlobalThreadPoolOptions},
    session::{Session, builder::SessionBuilder},
};

pub use self::library::{Config, Located, locate};
use self::{
    executor::OnnxExecutor, options::SessionOptions, providers::Provider, signature::signature,
};
use super::{Backend, BackendError, Executor, LoadSpec, agree};
use crate::{device::Device, model_config::EngineSignature};

/// The `onnxruntime` backend. The library is looked for, and its environment made, when the first
/// model needs it.
#[derive(Debug)]
pub struct OnnxRuntime {
    config: Config,
    cpu_count: usize,
    opened: OnceLock<Result<Opened, BackendError>>,
    /// Whether GPUs can be used; asked once.
    cuda: OnceLock<Result<(), BackendError>>,
}

/// The library, once it is open.
#[derive(Debug)]
struct Opened {
    environment: Environment,
    library: PathBuf,
}

impl OnnxRuntime {
    /// The backend with these settings, on a machine with so many hardware threads; touches nothing
    /// yet.
    pub fn new(config: Config, cpu_count: usize) -> Arc<Self> {
        Arc::new(Self {
            config,
            cpu_count,
            opened: OnceLock::new(),
            cuda: OnceLock::new(),
        })
    }

    fn opened(&self) -> Result<&Opened, BackendError> {
        self.opened
            .get_or_init(|| open(&self.config, self.cpu_count).map_err(BackendError::Unavailable))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn builder(&self) -> Result<SessionBuilder, BackendError> {
        let builder = Session::builder(&self.opened()?.environment).map_err(failed)?;
        builder.with_env_allocators().map_err(failed)
    }

    /// Opens the CUDA provider's library, and all that it needs.
    fn probe_cuda(&self, device: Device) -> Result<(), BackendError> {
        let (mut builder, provider) = (self.builder()?, Provider::plain(device));
        registration::add(&mut builder, &provider, &self.opened()?.library)
            .map_err(BackendError::Unavailable)
    }
}

/// Opens the library and makes the process's one environment.
fn open(config: &Config, cpu_count: usize) -> Result<Opened, String> {
    let Located { path, source } = locate(config)?;
    let unusable = |error: &dyn std::fmt::Display| {
        format!(
            "ONNX Runtime at {} ({source}) cannot be used: {error}",
            path.display()
        )
    };
    let threads = config.threads.unwrap_or(cpu_count);
    // Opens the library: nothing else of ONNX Runtime may be touched before.
    let builder = ort::init_from(&path).map_err(|error| unusable(&error))?;
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .and_then(|pool| pool.with_inter_threads(1))
        // A spinning pool takes the cores from the front doors and from the other models.
        .and_then(|pool| pool.with_spin_control(false))
        .and_then(GlobalThreadPoolOptions::with_flush_to_zero)
        .map_err(|error| unusable(&error))?;
    let environment = builder
        .with_name("despina")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .with_global_thread_pool(pool)
        .build()
        .map_err(|error| unusable(&error))?;
    environment.set_log_level(ort::logging::LogLevel::Warning);
    value::share_arena(&environment).map_err(|error| unusable(&error))?;
    tracing::info!(library = %path.display(), found = %source, threads, "ONNX Runtime opened");
    Ok(Opened {
        environment,
        library: path,
    })
}

fn log(level: ort::logging::LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    use ort::logging::LogLevel;
    match level {
        LogLevel::Fatal | LogLevel::Error => {
            tracing::error!(category, location, "ONNX Runtime: {message}")
        }
        LogLevel::Warning => tracing::warn!(category, location, "ONNX Runtime: {message}"),
        LogLevel::Info | LogLevel::Verbose => {
            tracing::debug!(category, location, "ONNX Runtime: {message}")
        }
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn default_filename(&self) -> &'static str {
        "model.onnx"
    }

    fn ready(&self) -> Result<(), BackendError> {
        self.opened().map(drop)
    }

    fn inspect(&self, file: &Path) -> Result<Option<EngineSignature>, BackendError> {
        // Not optimised: only the signature is wanted.
        let mut builder = self
            .builder()?
            .with_optimization_level(ort::session::builder::GraphOptimizationLevel::Disable)
            .map_err(failed)?;
        let session = builder
            .commit_from_file(model_file(file))
            .map_err(|error| invalid(file, &error))?;
        signature(&session).map(Some)
    }

    fn usable_on(&self, device: Device) -> Result<(), BackendError> {
        match device {
            Device::Host => Ok(()),
            Device::Cuda(_) => self.cuda.get_or_init(|| self.probe_cuda(device)).clone(),
        }
    }

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        let config = spec.config;
        let options = SessionOptions::read(config)?;
        for slip in options::slips(config, &providers::parameters()) {
            tracing::warn!(model = %config.name, instance = spec.instance, "{slip}");
        }
        let run_options = options.run_options()?;
        let version_folder = spec.file.parent().unwrap_or(spec.file);
        let providers = providers::read(config, device, version_folder)?;
        let mut builder = options.apply(self.builder()?)?;
        for provider in &providers {
            let library = &self.opened()?.library;
            registration::add(&mut builder, provider, library).map_err(|fault| {
                BackendError::Unavailable(format!(
                    "model '{}' asks for {}: {fault}",
                    config.name,
                    provider.kind.asked_for()
                ))
            })?;
        }
        let session = builder
            .commit_from_file(model_file(spec.file))
            .map_err(|error| invalid(spec.file, &error))?;
        let signature = signature(&session)?;
        agree::check(config, &signature)?;
        let executor = OnnxExecutor::new(session, &signature, run_options, config)?;
        Ok(Box::new(executor))
    }
}

/// A model may be a folder `model.onnx/` that holds `model.onnx` and its external data.
fn model_file(file: &Path) -> std::path::PathBuf {
    match file.file_name() {
        Some(name) if file.is_dir() => file.join(name),
        _ => file.to_owned(),
    }
}

fn failed(error: impl std::fmt::Display) -> BackendError {
    BackendError::Failed(format!("onnx runtime error: {error}"))
}

fn invalid(file: &Path, error: &dyn std::fmt::Display) -> BackendError {
    BackendError::InvalidModel(format!(
        "onnx runtime cannot load {}: {error}",
        file.display()
    ))
}
