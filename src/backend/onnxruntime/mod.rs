//! ONNX Runtime, found and opened at run time. One session per instance; all sessions share one
//! thread pool and one arena.

#![expect(
    unsafe_code,
    reason = "tensors cross ONNX Runtime's C interface without a copy"
)]

mod library;
mod options;
mod value;

use std::{
    ffi::CString,
    path::Path,
    ptr,
    sync::{Arc, OnceLock},
};

use ort::{
    AsPointer,
    environment::{Environment, GlobalThreadPoolOptions},
    session::{Session, builder::SessionBuilder},
    value::{Outlet, TensorElementType, ValueType},
};

pub use self::library::{Config, Located, locate};
use self::value::{HostMemory, InputValue, OutputValue, check};
use super::{Backend, BackendError, Batch, Executor, LoadSpec};
use crate::{
    device::Device,
    model_config::{self, EngineSignature, EngineTensor, ModelConfig, complete_from_engine},
    tensor::{Datatype, Shape},
};

/// The `onnxruntime` backend. The library is looked for, and its environment made, when the first
/// model needs it.
#[derive(Debug)]
pub struct OnnxRuntime {
    config: Config,
    cpu_count: usize,
    environment: OnceLock<Result<Environment, BackendError>>,
}

impl OnnxRuntime {
    /// The backend with these settings, on a machine with so many hardware threads; touches nothing
    /// yet.
    pub fn new(config: Config, cpu_count: usize) -> Arc<Self> {
        Arc::new(Self {
            config,
            cpu_count,
            environment: OnceLock::new(),
        })
    }

    fn environment(&self) -> Result<&Environment, BackendError> {
        self.environment
            .get_or_init(|| open(&self.config, self.cpu_count).map_err(BackendError::Unavailable))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn builder(&self) -> Result<SessionBuilder, BackendError> {
        let builder = Session::builder(self.environment()?).map_err(failed)?;
        builder.with_env_allocators().map_err(failed)
    }
}

/// Opens the library and makes the process's one environment.
fn open(config: &Config, cpu_count: usize) -> Result<Environment, String> {
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
    Ok(environment)
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
        self.environment().map(drop)
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

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        if device != Device::Host {
            return Err(BackendError::Unavailable(format!(
                "the onnxruntime backend runs on the CPU only, not on {device}"
            )));
        }
        let mut builder = options::apply(self.builder()?, spec.config)?;
        let session = builder
            .commit_from_file(model_file(spec.file))
            .map_err(|error| invalid(spec.file, &error))?;
        agrees(spec.config, &signature(&session)?)?;
        let names = |names: Vec<&str>| {
            names
                .into_iter()
                .map(CString::new)
                .collect::<Result<Vec<_>, _>>()
                .map_err(failed)
        };
        Ok(Box::new(OnnxExecutor {
            input_names: names(
                spec.config
                    .inputs
                    .iter()
                    .map(|input| &*input.name)
                    .collect(),
            )?,
            output_names: names(
                spec.config
                    .outputs
                    .iter()
                    .map(|output| &*output.name)
                    .collect(),
            )?,
            output_types: spec
                .config
                .outputs
                .iter()
                .map(|output| output.datatype)
                .collect(),
            memory: HostMemory::new()?,
            session,
        }))
    }
}

/// Holds the configuration against the session: what differs is better said now than by a failed
/// request.
fn agrees(config: &ModelConfig, engine: &EngineSignature) -> Result<(), BackendError> {
    let as_it_is = model_config::Environment {
        auto_complete: false,
        ..model_config::Environment::default()
    };
    complete_from_engine(&mut config.proto.clone(), engine, &as_it_is)
        .map_err(|error| BackendError::InvalidModel(error.to_string()))
}

/// A model may be a folder `model.onnx/` that holds `model.onnx` and its external data.
fn model_file(file: &Path) -> std::path::PathBuf {
    match file.file_name() {
        Some(name) if file.is_dir() => file.join(name),
        _ => file.to_owned(),
    }
}

struct OnnxExecutor {
    session: Session,
    memory: HostMemory,
    /// By the model's indices.
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    output_types: Vec<Datatype>,
}

impl Executor for OnnxExecutor {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        let mut inputs = Vec::with_capacity(batch.inputs.len());
        let mut input_names = Vec::with_capacity(batch.inputs.len());
        for input in &batch.inputs {
            inputs.push(InputValue::new(&self.memory, &input.tensor)?);
            input_names.push(
                self.input_names
                    .get(input.index)
                    .ok_or_else(unknown_index)?
                    .as_ptr(),
            );
        }
        let mut output_names = Vec::with_capacity(batch.wanted.len());
        for &index in &batch.wanted {
            output_names.push(
                self.output_names
                    .get(index)
                    .ok_or_else(unknown_index)?
                    .as_ptr(),
            );
        }
        let values: Vec<_> = inputs.iter().map(InputValue::as_ptr).collect();
        let mut outputs = vec![ptr::null_mut(); output_names.len()];
        // SAFETY: names and values are valid for the call and as many as is said; `&mut self`
        // makes it the only run on this session; ONNX Runtime allocates the null outputs.
        let status = unsafe {
            (ort::api().Run)(
                self.session.ptr().cast_mut(),
                ptr::null(),
                input_names.as_ptr(),
                values.as_ptr(),
                values.len(),
                output_names.as_ptr(),
                output_names.len(),
                outputs.as_mut_ptr(),
            )
        };
        // Taken before the status is looked at, so that whatever was allocated is freed.
        let outputs: Vec<_> = outputs.into_iter().map(OutputValue::from_raw).collect();
        check(status)?;
        for (&index, value) in batch.wanted.iter().zip(outputs) {
            let datatype = *self.output_types.get(index).ok_or_else(unknown_index)?;
            if let Some(output) = batch.outputs.get_mut(index) {
                *output = Some(value?.into_tensor(datatype)?);
            }
        }
        Ok(())
    }
}

fn signature(session: &Session) -> Result<EngineSignature, BackendError> {
    let tensors = |outlets: &[Outlet]| outlets.iter().map(tensor).collect::<Result<Vec<_>, _>>();
    Ok(EngineSignature {
        inputs: tensors(session.inputs())?,
        outputs: tensors(session.outputs())?,
    })
}

fn tensor(outlet: &Outlet) -> Result<EngineTensor, BackendError> {
    let unsupported = || {
        BackendError::InvalidModel(format!(
            "'{}' is of type {}, which KServe v2 cannot carry",
            outlet.name(),
            outlet.dtype()
        ))
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(unsupported());
    };
    Ok(EngineTensor {
        name: outlet.name().to_owned(),
        datatype: datatype(*ty).ok_or_else(unsupported)?,
        dims: shape.iter().copied().collect::<Shape>(),
    })
}

fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        _ => return None,
    })
}

fn unknown_index() -> BackendError {
    BackendError::Failed("a tensor's index is not in the model's signature".to_owned())
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
