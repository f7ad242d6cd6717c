//! Engines: a plan that was read onto one device, with what it says of itself. Shared by all instances
//! on the device; weights are there once.

use std::{
    ffi::{CStr, CString},
    path::Path,
    ptr::{self, NonNull},
    sync::{Arc, Mutex},
};

use tensorrt_sys::{self as sys, Library, trt_dims, trt_engine, trt_tensor};

use super::{
    plan::plan_version,
    profile::{Profile, Range},
    runtime::{EngineOptions, Runtime, StreamingBudget},
};
use crate::{
    backend::BackendError,
    device::cuda::Context,
    tensor::{Datatype, Shape},
};

/// One input or output.
#[derive(Clone, Debug)]
pub(super) struct EngineTensor {
    pub(super) name: CString,
    pub(super) datatype: Datatype,
    /// All dimensions; -1 is variable.
    pub(super) dims: Shape,
    /// Whether it is read on the host: a shape tensor.
    pub(super) is_on_host: bool,
}

impl EngineTensor {
    /// The name as text.
    pub(super) fn label(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

/// Where an engine is read to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) context: Arc<Context>,
    /// What the device is, for messages.
    pub(super) what: String,
}

/// An engine on a device.
#[derive(Debug)]
pub(super) struct Engine {
    raw: NonNull<trt_engine>,
    pub(super) inputs: Vec<EngineTensor>,
    pub(super) outputs: Vec<EngineTensor>,
    pub(super) profiles: Vec<Profile>,
    /// Held while a context is made: that writes to the engine.
    making: Mutex<()>,
    context: Arc<Context>,
    // Dropped after the engine.
    runtime: Runtime,
}

// SAFETY: an engine may be used from any thread; what writes to it is done under `making`.
unsafe impl Send for Engine {}
// SAFETY: as above; asking it is allowed from several threads at once.
unsafe impl Sync for Engine {}

impl Engine {
    /// Reads the plan in `file` onto the device of `context`.
    ///
    /// # Errors
    /// If the file is no plan, is one of another version or for another device, needs what is not
    /// there, or the device has no memory for it; with TensorRT's own words.
    pub(super) fn read(
        library: &Arc<Library>,
        place: &Place,
        file: &Path,
        options: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let context = &place.context;
        let invalid = |why: String| {
            BackendError::InvalidModel(format!("TensorRT cannot load {}: {why}", file.display()))
        };
        let plan = std::fs::read(file).map_err(|error| invalid(error.to_string()))?;
        let built_by = plan_version(&plan).map_err(|why| invalid(why.to_string()))?;
        context.enter()?;
        let runtime = Runtime::new(library, options)?;
        // SAFETY: the runtime lives, and the plan is so many bytes, which the call only reads.
        let raw = unsafe { sys::trt_engine_new(runtime.raw(), plan.as_ptr().cast(), plan.len()) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            invalid(format!(
                "{} (the plan was built by TensorRT {built_by}; here are TensorRT {} and {})",
                runtime.last_error(),
                library.version(),
                place.what
            ))
        })?;
        let mut engine = Self {
            raw,
            inputs: Vec::new(),
            outputs: Vec::new(),
            profiles: Vec::new(),
            making: Mutex::default(),
            context: Arc::clone(context),
            runtime,
        };
        engine.describe().map_err(invalid)?;
        engine.stream_weights(options.streaming).map_err(invalid)?;
        Ok(engine)
    }

    pub(super) fn raw(&self) -> *mut trt_engine {
        self.raw.as_ptr()
    }

    pub(super) fn making(&self) -> &Mutex<()> {
        &self.making
    }

    /// The device's context.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// What TensorRT says of the call that just failed.
    pub(super) fn last_error(&self) -> String {
        self.runtime.last_error()
    }

    /// Bytes of the device's memory that a context needs in that profile.
    pub(super) fn workspace_byte_size(&self, profile: usize) -> Option<usize> {
        let profile = i32::try_from(profile).ok()?;
        // SAFETY: the engine lives.
        let byte_size = unsafe { sys::trt_engine_workspace_size(self.raw(), profile) };
        usize::try_from(byte_size).ok()
    }

    /// Takes down what the engine says of its tensors and profiles.
    fn describe(&mut self) -> Result<(), String> {
        // SAFETY: the engine lives.
        let count = unsafe { sys::trt_engine_tensor_count(self.raw()) };
        for index in 0..count {
            let (tensor, is_input) = self.tensor(index)?;
            let side = if is_input {
                &mut self.inputs
            } else {
                &mut self.outputs
            };
            side.push(tensor);
        }
        // SAFETY: the engine lives.
        let profiles = unsafe { sys::trt_engine_profile_count(self.raw()) };
        self.profiles = (0..profiles)
            .map(|profile| self.profile(profile))
            .collect::<Result<_, _>>()?;
        match self.profiles.is_empty() {
            true => Err("the engine has no optimization profile".to_owned()),
            false => Ok(()),
        }
    }

    fn tensor(&self, index: i32) -> Result<(EngineTensor, bool), String> {
        let mut raw = no_tensor();
        // SAFETY: the engine lives, and the pointer is to a live value.
        let is_there = unsafe { sys::trt_engine_tensor(self.raw(), index, &raw mut raw) };
        if !is_there {
            return Err(format!(
                "the engine does not say what its tensor {index} is"
            ));
        }
        // SAFETY: a tensor that is there has a name, which lives as long as the engine.
        let name = unsafe { CStr::from_ptr(raw.name) }.to_owned();
        let fault = |what: &str| Err(format!("'{}' {what}", name.to_string_lossy()));
        if raw.is_on_host && !raw.is_input {
            return fault(
                "is a shape tensor and an output, which this version of Despina does not support",
            );
        }
        if !raw.is_linear {
            return fault(
                "has a non-linear format, which this version of Despina does not support",
            );
        }
        let Some(datatype) = datatype(raw.datatype) else {
            return fault("is of a type that KServe v2 cannot carry");
        };
        match shape(&raw.shape) {
            Some(dims) => {
                let is_on_host = raw.is_on_host;
                let tensor = EngineTensor {
                    name,
                    datatype,
                    dims,
                    is_on_host,
                };
                Ok((tensor, raw.is_input))
            }
            None => fault("has a shape that the engine does not say"),
        }
    }

    fn profile(&self, profile: i32) -> Result<Profile, String> {
        let range = |input: &EngineTensor| {
            let shape = |which| self.profile_shape(input, profile, which);
            Some(Range {
                min: shape(sys::TRT_PROFILE_MIN)?,
                opt: shape(sys::TRT_PROFILE_OPT)?,
                max: shape(sys::TRT_PROFILE_MAX)?,
            })
        };
        let inputs = self.inputs.iter().map(|input| {
            range(input).ok_or_else(|| {
                format!(
                    "the engine does not say what profile {profile} has for '{}'",
                    input.label()
                )
            })
        });
        Ok(Profile {
            inputs: inputs.collect::<Result<_, _>>()?,
        })
    }

    fn profile_shape(&self, input: &EngineTensor, profile: i32, which: u32) -> Option<Shape> {
        let mut raw = no_shape();
        let which = i32::try_from(which).ok()?;
        // SAFETY: the engine and the name live, and the pointer is to a live value.
        let is_there = unsafe {
            sys::trt_engine_profile_shape(
                self.raw(),
                input.name.as_ptr(),
                profile,
                which,
                &raw mut raw,
            )
        };
        shape(&raw).filter(|_| is_there)
    }

    fn stream_weights(&self, budget: Option<StreamingBudget>) -> Result<(), String> {
        let Some(budget) = budget else {
            return Ok(());
        };
        // SAFETY: the engine lives.
        if unsafe { sys::trt_engine_streamable_size(self.raw()) } <= 0 {
            return Err(
                "the plan was not built for weight streaming, so it has no budget".to_owned(),
            );
        }
        let byte_size = match budget {
            StreamingBudget::Bytes(byte_size) => byte_size,
            // SAFETY: the engine lives.
            StreamingBudget::Automatic => unsafe { sys::trt_engine_automatic_budget(self.raw()) },
        };
        // SAFETY: the engine lives, nobody else has it, and it has no context yet.
        match unsafe { sys::trt_engine_set_streaming_budget(self.raw(), byte_size) } {
            true => Ok(()),
            false => Err(format!(
                "a weight streaming budget of {byte_size} bytes was refused: {}",
                self.last_error()
            )),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // On a lost device there is nothing left to free there.
        let _ = self.context.enter();
        // SAFETY: the engine is ours, and its contexts hold it: there are none.
        unsafe { sys::trt_engine_free(self.raw()) };
    }
}

/// TensorRT's `DataType`, as far as KServe v2 has it.
fn datatype(number: i32) -> Option<Datatype> {
    Some(match number {
        0 => Datatype::Fp32,
        1 => Datatype::Fp16,
        2 => Datatype::Int8,
        3 => Datatype::Int32,
        4 => Datatype::Bool,
        5 => Datatype::Uint8,
        7 => Datatype::Bf16,
        8 => Datatype::Int64,
        _ => return None,
    })
}

/// A shape to be filled in.
pub(super) fn no_shape() -> trt_dims {
    trt_dims {
        count: -1,
        extents: [0; sys::TRT_MAX_DIMS as usize],
    }
}

/// A tensor to be filled in.
pub(super) fn no_tensor() -> trt_tensor {
    trt_tensor {
        name: ptr::null(),
        datatype: 0,
        is_input: false,
        is_on_host: false,
        is_linear: false,
        shape: no_shape(),
    }
}

/// A shape across the C interface; `None` if TensorRT does not know it.
pub(super) fn shape(raw: &trt_dims) -> Option<Shape> {
    let count = usize::try_from(raw.count).ok()?;
    raw.extents.get(..count).map(Shape::from)
}

/// The same, the other way; `None` if TensorRT has no room for so many dimensions.
pub(super) fn dims(shape: &Shape) -> Option<trt_dims> {
    let mut raw = no_shape();
    raw.extents.get_mut(..shape.len())?.copy_from_slice(shape);
    raw.count = i32::try_from(shape.len()).ok()?;
    Some(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shapes_cross_the_interface_unchanged_or_not_at_all(extents in prop::collection::vec(any::<i64>(), 0..12)) {
            let there = Shape::new(extents.iter().copied());
            let raw = dims(&there);
            prop_assert_eq!(raw.is_some(), extents.len() <= 8);
            if let Some(raw) = raw {
                prop_assert_eq!(shape(&raw), Some(there));
            }
        }

        #[test]
        fn no_count_reads_beyond_what_there_is(count in any::<i32>()) {
            let raw = trt_dims { count, ..no_shape() };
            let expected = (0..=8).contains(&count);
            prop_assert_eq!(shape(&raw).is_some(), expected);
        }
    }

    #[test]
    fn types_that_both_have_are_carried() {
        let carried: Vec<_> = (-1..13).filter_map(datatype).collect();
        use Datatype::*;
        assert_eq!(carried, [Fp32, Fp16, Int8, Int32, Bool, Uint8, Bf16, Int64]);
    }
}
