//! TensorRT: plans, run on GPUs. The library is opened at run time, through `crates/tensorrt-sys`.
//!
//! An `engine` is a plan on a device, shared by the instances there; each has `context`s of its own,
//! one for each optimization `profile` that it uses, in which the `executor` runs batches. Plans come from a
//! file, or from the `factory`, which builds them from ONNX models.

#![expect(unsafe_code, reason = "TensorRT is reached through a C interface")]

mod builder;
mod context;
mod engine;
mod engines;
mod executor;
pub mod factory;
mod library;
mod log;
mod options;
mod output;
mod plan;
mod plugins;
mod profile;
mod runtime;
mod signature;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use tensorrt_sys::Library;

use self::{
    engine::{Engine, Place},
    engines::Engines,
    executor::EngineExecutor,
    factory::Turns,
    runtime::{EngineOptions, StreamingBudget},
    signature::signature,
};
pub use self::{
    library::Config,
    plan::{NoPlan, PlanVersion, plan_version},
};
use super::{Backend, BackendError, Executor, Factory, LoadSpec, agree, on_device};
use crate::{
    device::{Device, Devices, Gpu, Inventory, cuda::Context},
    model_config::EngineSignature,
};

/// The `tensorrt` backend. The library is looked for when the first model needs it.
#[derive(Debug)]
pub struct TensorRt {
    config: Config,
    devices: Arc<Devices>,
    gpus: Vec<Gpu>,
    /// The driver's version, as far as it is known.
    driver: String,
    /// The GPU that plans are read on to see what they are.
    first_gpu: Result<u32, String>,
    opened: OnceLock<Result<Arc<Library>, BackendError>>,
    engines: Engines,
    /// One build at a time on each GPU.
    turns: Arc<Turns>,
}

impl TensorRt {
    /// The backend with these settings, on a machine with these devices, of which `usable` may be used;
    /// touches nothing yet.
    pub fn new(
        config: Config,
        inventory: &Inventory,
        usable: &[u32],
        devices: &Arc<Devices>,
    ) -> Arc<Self> {
        let reason = inventory.no_gpu_reason.as_deref();
        let first_gpu = usable.first().copied().ok_or_else(|| {
            format!(
                "the tensorrt backend runs on GPUs only: {}",
                reason.unwrap_or("none of those here may be used")
            )
        });
        Arc::new(Self {
            config,
            devices: Arc::clone(devices),
            gpus: inventory.gpus.clone(),
            driver: inventory
                .driver
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
            first_gpu,
            opened: OnceLock::new(),
            engines: Engines::default(),
            turns: Arc::default(),
        })
    }

    fn library(&self) -> Result<&Arc<Library>, BackendError> {
        let opened = self.opened.get_or_init(|| {
            let library = library::open(&self.config).map_err(BackendError::Unavailable)?;
            let (path, version) = (library.path().display(), library.version());
            tracing::info!(library = %path, %version, "TensorRT opened");
            Ok(Arc::new(library))
        });
        opened.as_ref().map_err(Clone::clone)
    }

    fn first_gpu(&self) -> Result<u32, BackendError> {
        self.first_gpu.clone().map_err(BackendError::Unavailable)
    }

    fn engine(
        &self,
        context: &Arc<Context>,
        file: &Path,
        streaming: Option<StreamingBudget>,
    ) -> Result<Arc<Engine>, BackendError> {
        let options = EngineOptions {
            plugins: self.config.plugins.clone(),
            version_compatible: self.config.version_compatible,
            streaming,
        };
        let place = Place {
            context: Arc::clone(context),
            what: self.describe(context.ordinal()),
        };
        self.engines.engine(self.library()?, &place, file, &options)
    }

    /// Device, product and compute capability: what plans are built for.
    fn describe(&self, ordinal: u32) -> String {
        let device = Device::Cuda(ordinal);
        let gpu = self.gpus.iter().find(|gpu| gpu.ordinal == ordinal);
        gpu.map_or_else(
            || device.to_string(),
            |gpu| {
                let (major, minor) = gpu.compute_capability;
                format!(
                    "{device}, {} of compute capability {major}.{minor}",
                    gpu.name
                )
            },
        )
    }
}

impl Backend for TensorRt {
    fn name(&self) -> &'static str {
        "tensorrt"
    }

    fn default_filename(&self) -> &'static str {
        "model.plan"
    }

    fn ready(&self) -> Result<(), BackendError> {
        self.library()?;
        self.first_gpu().map(drop)
    }

    fn usable_on(&self, device: Device) -> Result<(), BackendError> {
        match device {
            Device::Cuda(_) => Ok(()),
            Device::Host => Err(BackendError::Unavailable(
                "the tensorrt backend runs on GPUs only, and this instance has none".to_owned(),
            )),
        }
    }

    fn factory(&self) -> Option<&dyn Factory> {
        Some(self)
    }

    fn inspect(&self, file: &Path) -> Result<Option<EngineSignature>, BackendError> {
        let device = self.devices.open(self.first_gpu()?)?;
        let engine = self.engine(device.context(), file, None)?;
        Ok(Some(signature(&engine)))
    }

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        self.usable_on(device)?;
        let Device::Cuda(ordinal) = device else {
            return Err(BackendError::Failed(format!("{device} is no GPU")));
        };
        let streaming = options::streaming_budget(spec.config)?;
        let context = Arc::clone(spec.devices.open(ordinal)?.context());
        let engine = self.engine(&context, spec.file, streaming)?;
        agree::check(spec.config, &signature(&engine))?;
        let profiles = options::profiles(spec.config, spec.instance, engine.profiles.len())?;
        let lane = on_device::lane(spec, ordinal)?;
        let executor = EngineExecutor::new(engine, &profiles, lane, spec.config)?;
        Ok(Box::new(executor))
    }
}
