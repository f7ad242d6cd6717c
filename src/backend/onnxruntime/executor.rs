//! Runs batches on a session. Tensors are in host memory on both sides; a session on a GPU copies
//! them itself.

use std::{ffi::CString, ptr, sync::Arc};

use ort::{
    AsPointer,
    session::{RunOptions, Session},
};

use super::{
    failed,
    value::{HostMemory, InputValue, OutputValue, check},
};
use crate::{
    backend::{BackendError, Batch, Executor},
    model_config::{EngineSignature, ModelConfig, OutputSpec},
    tensor::{Datatype, Shape},
};

/// One session, and what each of its runs needs.
pub(super) struct OnnxExecutor {
    session: Session,
    /// What each run is told, if anything.
    run_options: Option<RunOptions>,
    memory: HostMemory,
    /// By the model's indices.
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    output_types: Vec<Datatype>,
    /// Which inputs are scalars to the model. Triton knows none, so that clients send `[1]` for them.
    scalar_inputs: Vec<bool>,
    /// What clients see of outputs that come as scalars, in models without a batch dimension.
    scalar_outputs: Vec<Option<Shape>>,
}

impl OnnxExecutor {
    /// For a session of this signature that agrees with the configuration.
    pub(super) fn new(
        session: Session,
        signature: &EngineSignature,
        run_options: Option<RunOptions>,
        config: &ModelConfig,
    ) -> Result<Self, BackendError> {
        let name = |name: &Arc<str>| CString::new(&**name).map_err(failed);
        let (inputs, outputs) = (config.inputs.iter(), config.outputs.iter());
        let is_batched = config.max_batch_size > 0;
        let scalar_inputs = inputs.clone();
        let scalar_inputs =
            scalar_inputs.map(|input| !is_batched && is_scalar(signature, &input.name));
        let scalar_outputs = outputs.clone();
        let scalar_outputs = scalar_outputs.map(|output| (!is_batched).then(|| ones(output)));
        Ok(Self {
            input_names: inputs
                .map(|input| name(&input.name))
                .collect::<Result<_, _>>()?,
            output_types: outputs.clone().map(|output| output.datatype).collect(),
            scalar_inputs: scalar_inputs.collect(),
            scalar_outputs: scalar_outputs.collect(),
            output_names: outputs
                .map(|output| name(&output.name))
                .collect::<Result<_, _>>()?,
            memory: HostMemory::new()?,
            run_options,
            session,
        })
    }
}

impl Executor for OnnxExecutor {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        let mut inputs = Vec::with_capacity(batch.inputs.len());
        let mut input_names = Vec::with_capacity(batch.inputs.len());
        let scalar = Shape::default();
        for input in &batch.inputs {
            let shape = match self.scalar_inputs.get(input.index) {
                Some(true) => &scalar,
                _ => &input.tensor.shape,
            };
            inputs.push(InputValue::new(&self.memory, &input.tensor, shape)?);
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
        let run_options = self.run_options.as_ref();
        // SAFETY: names, values and options (null for none) are valid for the call, and as many as
        // is said; `&mut self` makes it the only run on this session; inputs are in host memory, and
        // ONNX Runtime allocates the null outputs there, wherever the session computes.
        let status = unsafe {
            (ort::api().Run)(
                self.session.ptr().cast_mut(),
                run_options.map_or(ptr::null(), RunOptions::ptr),
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
            let mut tensor = value?.into_tensor(datatype)?;
            if tensor.shape.is_empty()
                && let Some(Some(shape)) = self.scalar_outputs.get(index)
            {
                tensor.shape = shape.clone();
            }
            if let Some(output) = batch.outputs.get_mut(index) {
                *output = Some(tensor);
            }
        }
        Ok(())
    }
}

fn is_scalar(signature: &EngineSignature, input: &str) -> bool {
    let mut inputs = signature.inputs.iter();
    inputs.any(|tensor| tensor.name == input && tensor.dims.is_empty())
}

/// One element, in as many dimensions as the configuration says.
fn ones(output: &OutputSpec) -> Shape {
    let dims = output.reshape.as_ref().unwrap_or(&output.dims);
    std::iter::repeat_n(1, dims.len()).collect()
}

fn unknown_index() -> BackendError {
    BackendError::Failed("a tensor's index is not in the model's signature".to_owned())
}
