//! Builders: from an ONNX model to a plan. What is asked of one comes from a recipe; nothing is decided here.

use std::{
    ffi::{CStr, CString, c_char},
    path::{Path, PathBuf},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use tensorrt_sys::{
    self as sys, Library, OnnxParser, trt_blob, trt_build_options, trt_builder, trt_parse_error,
};

use super::{
    engine::{dims, no_tensor, shape},
    factory::{BuildProfile, Recipe},
    log::{self, Log},
    plugins,
    profile::Range,
};
use crate::{backend::BackendError, tensor::Shape};

/// Reasons of a parser that are passed on.
const KEPT_FAULTS: i32 = 4;

/// An input of a model that a builder has taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelInput {
    pub(super) name: String,
    /// All dimensions; -1 is variable.
    pub(super) dims: Shape,
    /// Whether its values, and not only its shape, decide about shapes.
    pub(super) is_shape: bool,
}

/// What builds one plan, with its log.
#[derive(Debug)]
pub(super) struct Builder {
    raw: NonNull<trt_builder>,
    // Dropped after the builder, which writes to it.
    log: Box<Log>,
    // Its memory is part of the network.
    _parser: Option<Arc<OnnxParser>>,
    _library: Arc<Library>,
}

impl Builder {
    /// A builder on the device whose context is current, which follows the recipe.
    ///
    /// # Errors
    /// If the library cannot build, or has no such option, or a library of plugins cannot be loaded.
    pub(super) fn new(
        library: &Arc<Library>,
        recipe: &Recipe,
        plugins: &[PathBuf],
    ) -> Result<Self, BackendError> {
        let create = library.create_builder().unwrap_or(ptr::null_mut());
        recipe
            .check(library.version())
            .map_err(BackendError::InvalidModel)?;
        let options = options(recipe);
        let log = Box::<Log>::default();
        let user = ptr::from_ref(&*log).cast_mut().cast();
        // SAFETY: the factory is that of a library that stays open; the log outlives the builder and
        // does not move; the options live; a device's context is current, says the caller.
        let raw =
            unsafe { sys::trt_builder_new(create, Some(log::write), user, &raw const options) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            BackendError::Unavailable(format!("TensorRT cannot build here: {}", log.take()))
        })?;
        let builder = Self {
            raw,
            log,
            _parser: None,
            _library: Arc::clone(library),
        };
        for path in plugins {
            // SAFETY: the builder and the path live; the operator named the library.
            plugins::load(path, &builder.log, |path| unsafe {
                sys::trt_builder_load_plugins(builder.raw.as_ptr(), path.as_ptr())
            })?;
        }
        Ok(builder)
    }

    /// Takes the ONNX model in; its external data is looked for beside `path`.
    ///
    /// # Errors
    /// Why the parser refuses it, with the node.
    pub(super) fn parse(
        &mut self,
        parser: &Arc<OnnxParser>,
        model: &[u8],
        path: &Path,
    ) -> Result<(), BackendError> {
        let place = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|error| BackendError::InvalidModel(format!("{}: {error}", path.display())))?;
        self._parser = Some(Arc::clone(parser));
        // SAFETY: the builder, the model's bytes and the path live; the factory is that of a parser that
        // stays open as long as the builder.
        let is_taken = unsafe {
            sys::trt_builder_parse(
                self.raw.as_ptr(),
                parser.create(),
                model.as_ptr().cast(),
                model.len(),
                place.as_ptr(),
            )
        };
        if is_taken {
            return Ok(());
        }
        let faults = self.faults();
        let why = match faults.is_empty() {
            true => self.log.take(),
            false => faults.join("; "),
        };
        Err(BackendError::InvalidModel(format!(
            "TensorRT's ONNX parser refuses {}: {why}",
            path.display()
        )))
    }

    /// The inputs of the model that was taken in.
    ///
    /// # Errors
    /// If TensorRT does not say what one is.
    pub(super) fn inputs(&self) -> Result<Vec<ModelInput>, BackendError> {
        // SAFETY: the builder lives.
        let count = unsafe { sys::trt_builder_input_count(self.raw.as_ptr()) };
        (0..count).map(|index| self.input(index)).collect()
    }

    /// Adds an optimization profile.
    ///
    /// # Errors
    /// If TensorRT refuses it, with its own words.
    pub(super) fn add_profile(&mut self, profile: &BuildProfile) -> Result<(), BackendError> {
        // SAFETY: the builder lives.
        let mut is_taken = unsafe { sys::trt_builder_begin_profile(self.raw.as_ptr()) };
        for (input, range) in profile.iter() {
            is_taken = is_taken && self.set_shapes(input, range);
        }
        // SAFETY: the builder lives.
        is_taken = is_taken && unsafe { sys::trt_builder_end_profile(self.raw.as_ptr()) };
        match is_taken {
            true => Ok(()),
            false => Err(BackendError::InvalidModel(format!(
                "TensorRT refuses the optimization profile {profile}: {}",
                self.log.take()
            ))),
        }
    }

    /// Gives it what is known of how long kernels take; whether it could read that.
    pub(super) fn set_timing_cache(&mut self, known: &[u8]) -> bool {
        // SAFETY: the builder and the bytes live; the call copies them.
        unsafe {
            sys::trt_builder_set_timing_cache(self.raw.as_ptr(), known.as_ptr().cast(), known.len())
        }
    }

    /// What is known of that after the build; `None` if it was given no cache.
    pub(super) fn timing_cache(&self) -> Option<Vec<u8>> {
        // SAFETY: the builder lives, and nothing is being built.
        Blob::new(unsafe { sys::trt_builder_timing_cache(self.raw.as_ptr()) })
            .map(|blob| blob.to_vec())
    }

    /// Builds the plan. Takes minutes.
    ///
    /// # Errors
    /// Why TensorRT cannot, in its own words.
    pub(super) fn build(&mut self) -> Result<Vec<u8>, BackendError> {
        // SAFETY: the builder lives.
        let plan = Blob::new(unsafe { sys::trt_builder_build(self.raw.as_ptr()) });
        plan.map(|plan| plan.to_vec()).ok_or_else(|| {
            BackendError::InvalidModel(format!(
                "TensorRT cannot build the model: {}",
                self.log.take()
            ))
        })
    }

    fn input(&self, index: i32) -> Result<ModelInput, BackendError> {
        let mut raw = no_tensor();
        // SAFETY: the builder lives, and the pointer is to a live value.
        let is_there = unsafe { sys::trt_builder_input(self.raw.as_ptr(), index, &raw mut raw) };
        let dims = shape(&raw.shape).filter(|_| is_there).ok_or_else(|| {
            BackendError::InvalidModel(format!("TensorRT does not say what input {index} is"))
        })?;
        // SAFETY: an input that is there has a name, which lives as long as the builder.
        let name = unsafe { CStr::from_ptr(raw.name) };
        Ok(ModelInput {
            name: name.to_string_lossy().into_owned(),
            dims,
            is_shape: raw.is_on_host,
        })
    }

    fn set_shapes(&self, input: &str, range: &Range) -> bool {
        let shapes = [&range.min, &range.opt, &range.max].map(dims);
        let (Ok(name), [Some(min), Some(opt), Some(max)]) = (CString::new(input), shapes) else {
            return false;
        };
        // SAFETY: the builder, the name and the shapes live.
        unsafe {
            sys::trt_builder_set_shapes(
                self.raw.as_ptr(),
                name.as_ptr(),
                &raw const min,
                &raw const opt,
                &raw const max,
            )
        }
    }

    /// What the parser has against the model.
    fn faults(&self) -> Vec<String> {
        // SAFETY: the builder lives.
        let count = unsafe { sys::trt_builder_error_count(self.raw.as_ptr()) };
        (0..count.min(KEPT_FAULTS))
            .filter_map(|index| self.fault(index))
            .collect()
    }

    fn fault(&self, index: i32) -> Option<String> {
        let mut raw = trt_parse_error {
            code: 0,
            node: -1,
            text: ptr::null(),
            node_name: ptr::null(),
            node_operator: ptr::null(),
        };
        // SAFETY: the builder lives, and the pointer is to a live value.
        let is_there = unsafe { sys::trt_builder_error(self.raw.as_ptr(), index, &raw mut raw) };
        is_there.then(|| fault_text(&raw))
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        // SAFETY: the builder is ours, and nothing is being built.
        unsafe { sys::trt_builder_free(self.raw.as_ptr()) };
    }
}

/// Bytes that TensorRT gave.
struct Blob(NonNull<trt_blob>);

impl Blob {
    fn new(raw: *mut trt_blob) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    fn to_vec(&self) -> Vec<u8> {
        // SAFETY: the blob lives.
        let data: *const u8 = unsafe { sys::trt_blob_data(self.0.as_ptr()) }.cast();
        // SAFETY: the blob lives.
        let byte_size = unsafe { sys::trt_blob_size(self.0.as_ptr()) };
        if data.is_null() {
            return Vec::new();
        }
        // SAFETY: the blob has so many bytes there, which nobody changes.
        unsafe { slice::from_raw_parts(data, byte_size) }.to_vec()
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: the blob is ours.
        unsafe { sys::trt_blob_free(self.0.as_ptr()) };
    }
}

fn options(recipe: &Recipe) -> trt_build_options {
    trt_build_options {
        precision: recipe.precision.number(),
        hardware: recipe.hardware.number(),
        optimization_level: recipe.optimization_level.map_or(-1, i32::from),
        version_compatible: recipe.version_compatible,
        weight_streaming: recipe.weight_streaming,
        workspace_limit: recipe.workspace_byte_limit.unwrap_or(0),
    }
}

fn fault_text(raw: &trt_parse_error) -> String {
    let said = |text: *const c_char| {
        // SAFETY: texts that are there live as long as the builder.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    let mut text = said(raw.text).map_or_else(
        || format!("error {}", raw.code),
        |text| log::shortened(&text),
    );
    if raw.node >= 0 {
        text.push_str(&format!(" (node {}", raw.node));
        for part in [raw.node_name, raw.node_operator]
            .map(said)
            .into_iter()
            .flatten()
        {
            if !part.is_empty() {
                text.push_str(&format!(" {}", log::shortened(&part)));
            }
        }
        text.push(')');
    }
    text
}
