//! The seam to inference engines. A backend loads a model into executors; an executor runs
//! batches. Backends see tensors, never requests, and own everything that they allocate.

mod agree;
mod batch;
mod decoupled;
mod factory;
mod graphs;
mod halt;
pub mod identity;
pub mod image_preprocess;
mod on_device;
pub mod onnxruntime;
mod parameters;
mod pieces;
mod registry;
pub mod repeat;
pub mod simulated;
pub mod tensorrt;
#[cfg(test)]
mod tests;
mod transfer;

use std::{path::Path, sync::Arc};

pub use self::{
    batch::{Batch, BatchInput},
    decoupled::{DecoupledExecutor, DecoupledRequest, Outputs, Responder, Stop},
    factory::{Blueprint, Factory, Made, Verdict},
    graphs::Graphs,
    halt::Halt,
    on_device::{Delivery, Enqueued, Executed, Landing, Routes, device_span, enqueue, on_host},
    pieces::Pieces,
    registry::BackendRegistry,
};
use crate::{
    device::{
        Device, Devices, Lane,
        cuda::{DeviceError, Work},
    },
    error::{Error, ErrorKind},
    model_config::{EngineSignature, ModelConfig},
};

/// What an executor is to be made from.
#[derive(Clone, Copy, Debug)]
pub struct LoadSpec<'a> {
    /// The model file in the version's folder; need not exist for backends without files.
    pub file: &'a Path,
    /// The complete configuration.
    pub config: &'a ModelConfig,
    /// The instance's name.
    pub instance: &'a str,
    /// The devices that can be used.
    pub devices: &'a Devices,
}

/// An engine.
pub trait Backend: Send + Sync {
    /// The name that configurations use.
    fn name(&self) -> &'static str;

    /// The model file's name if the configuration gives none; empty for models that have no file.
    fn default_filename(&self) -> &'static str {
        ""
    }

    /// Whether the engine can be used at all on this machine.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] with a one-line reason.
    fn ready(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Whether the engine can run models on that device of this machine.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] with a one-line reason.
    fn usable_on(&self, device: Device) -> Result<(), BackendError> {
        match device {
            Device::Host => Ok(()),
            Device::Cuda(_) => Err(BackendError::Unavailable(format!(
                "the {} backend runs on the CPU only, not on {device}",
                self.name()
            ))),
        }
    }

    /// What the model's own file says about its inputs and outputs; `None` if it says nothing.
    /// May be slow; called on a loading thread.
    ///
    /// # Errors
    /// If the file cannot be read by the engine.
    fn inspect(&self, _file: &Path) -> Result<Option<EngineSignature>, BackendError> {
        Ok(None)
    }

    /// What makes model files for this backend; `None` if they have to be there.
    fn factory(&self) -> Option<&dyn Factory> {
        None
    }

    /// Loads one executor. Called on the thread that will run it, and may be slow.
    ///
    /// # Errors
    /// If the model cannot be loaded as configured.
    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError>;
}

/// A loaded model on one device. `&mut` makes execution exclusive; it is not always the thread that
/// loaded it that executes.
pub trait Executor: Send {
    /// Runs the batch and sets each wanted output.
    ///
    /// # Errors
    /// If the batch failed; the executor stays usable.
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError>;

    /// This executor as one that answers requests with any number of responses. `None` from one
    /// that has one response for each request, which a decoupled model may have as well.
    fn decoupled(&mut self) -> Option<&mut dyn DecoupledExecutor> {
        None
    }

    /// This executor as one whose batches run on a device while the host goes on. `None` from one
    /// that is done when [`Executor::execute`] returns.
    fn on_device(&mut self) -> Option<&mut dyn DeviceExecutor> {
        None
    }
}

/// An executor whose batches run on a device, several of them under way at a time.
pub trait DeviceExecutor {
    /// Its lane on the device: it owns it, and frees it when it goes.
    fn lane(&self) -> &Arc<Lane>;

    /// Its graphs, if it has any.
    fn graphs(&self) -> &Graphs;

    /// Whether it reads that input of the model on the host: then it stays there, or comes there.
    fn reads_on_host(&self, _input: usize) -> bool {
        false
    }

    /// Does what the host has to do for a batch of so many rows: before [`DeviceExecutor::enqueue`],
    /// and before a graph that was captured from it is launched instead.
    fn prepare(&mut self, _row_count: usize) {}

    /// Gives the lane's compute stream what the batch needs, and waits for none of it. Inputs are in
    /// the device's memory by the time that the stream comes to it. Sets each wanted output, in the
    /// device's memory, whose content need not be there before the stream has passed.
    ///
    /// # Errors
    /// If the batch failed; the executor stays usable unless the device is lost.
    fn enqueue(&mut self, batch: &mut Batch, work: &mut Work) -> Result<(), BackendError>;
}

/// What a backend has to say when it fails.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// The engine is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The model does not fit its configuration, or is broken.
    #[error("{0}")]
    InvalidModel(String),
    /// The input is wrong for the model.
    #[error("{0}")]
    InvalidInput(String),
    /// The engine failed.
    #[error("{0}")]
    Failed(String),
    /// The device failed.
    #[error("{0}")]
    Device(#[from] DeviceError),
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        let kind = match &error {
            BackendError::Unavailable(_) => ErrorKind::Unavailable,
            BackendError::InvalidModel(_) | BackendError::InvalidInput(_) => {
                ErrorKind::InvalidArgument
            }
            BackendError::Device(DeviceError::OutOfMemory { .. }) => ErrorKind::ResourceExhausted,
            BackendError::Device(DeviceError::Lost { .. } | DeviceError::GivenUp { .. }) => {
                ErrorKind::Unavailable
            }
            BackendError::Device(DeviceError::Failed { .. }) | BackendError::Failed(_) => {
                ErrorKind::Internal
            }
        };
        Self::new(kind, "backend", error.to_string())
    }
}
