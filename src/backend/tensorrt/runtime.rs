//! Runtimes: what reads plans. One for each engine, so that what TensorRT says can be told apart.

use std::{
    path::PathBuf,
    ptr::{self, NonNull},
    sync::Arc,
};

use tensorrt_sys::{self as sys, Library, trt_runtime};

use super::{
    log::{self, Log},
    plugins,
};
use crate::backend::BackendError;

/// What reads engines, with its log.
#[derive(Debug)]
pub(super) struct Runtime {
    raw: NonNull<trt_runtime>,
    // Dropped after the runtime, which writes to it.
    log: Box<Log>,
    _library: Arc<Library>,
}

impl Runtime {
    /// A runtime with the plugins and permissions that the options name.
    ///
    /// # Errors
    /// If TensorRT cannot be started here, or a library of plugins cannot be loaded.
    pub(super) fn new(
        library: &Arc<Library>,
        options: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let log = Box::<Log>::default();
        let user = ptr::from_ref(&*log).cast_mut().cast();
        // SAFETY: the factory is that of a library that stays open; the log outlives the runtime and
        // does not move; the driver was initialised, for there is a context.
        let raw = unsafe { sys::trt_runtime_new(library.create(), Some(log::write), user) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            BackendError::Unavailable(format!("TensorRT cannot be started: {}", log.take()))
        })?;
        let runtime = Self {
            raw,
            log,
            _library: Arc::clone(library),
        };
        runtime.prepare(options)?;
        Ok(runtime)
    }

    pub(super) fn raw(&self) -> *mut trt_runtime {
        self.raw.as_ptr()
    }

    /// What TensorRT says of the call that just failed.
    pub(super) fn last_error(&self) -> String {
        self.log.take()
    }

    fn prepare(&self, options: &EngineOptions) -> Result<(), BackendError> {
        // SAFETY: the runtime lives.
        unsafe { sys::trt_runtime_allow_host_code(self.raw.as_ptr(), options.version_compatible) };
        for path in &options.plugins {
            // SAFETY: the runtime and the path live; the operator named the library.
            plugins::load(path, &self.log, |path| unsafe {
                sys::trt_runtime_load_plugins(self.raw.as_ptr(), path.as_ptr())
            })?;
        }
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: the runtime is ours, and its engine is gone.
        unsafe { sys::trt_runtime_free(self.raw.as_ptr()) };
    }
}

/// What an engine is read with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EngineOptions {
    pub(super) plugins: Vec<PathBuf>,
    pub(super) version_compatible: bool,
    pub(super) streaming: Option<StreamingBudget>,
}

/// How much of an engine's weights stays on the device; the rest comes from the host in each execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamingBudget {
    /// What TensorRT thinks.
    Automatic,
    /// So many bytes.
    Bytes(i64),
}
