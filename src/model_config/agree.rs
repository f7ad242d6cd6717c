//! Holds a configuration's inputs and outputs against those of the engine.

use super::{
    ConfigError, EngineSignature, EngineTensor,
    tensors::{data_type_of, datatype_name, datatype_of},
};
use crate::{proto::inference as pb, tensor::Shape};

const OUTPUT: &str = "output";

/// Names, datatypes and shapes must be the engine's. Outputs may be left out, inputs may not.
pub(super) fn check(config: &pb::ModelConfig, engine: &EngineSignature) -> Result<(), ConfigError> {
    let inputs = Side {
        config,
        what: "input",
        tensors: &engine.inputs,
    };
    for input in &config.input {
        inputs.check_shape_tensor(&input.name, input.is_shape_tensor)?;
        inputs.check(
            &input.name,
            input.data_type,
            &input.dims,
            input.reshape.as_ref(),
        )?;
    }
    // A ragged model's engine has inputs that the server computes.
    if config.batch_input.is_empty() {
        inputs.check_complete()?;
    }
    let outputs = Side {
        config,
        what: OUTPUT,
        tensors: &engine.outputs,
    };
    for output in &config.output {
        outputs.check(
            &output.name,
            output.data_type,
            &output.dims,
            output.reshape.as_ref(),
        )?;
    }
    Ok(())
}

/// Inputs or outputs.
struct Side<'a> {
    config: &'a pb::ModelConfig,
    what: &'static str,
    tensors: &'a [EngineTensor],
}

impl Side<'_> {
    fn check(
        &self,
        name: &str,
        data_type: i32,
        dims: &[i64],
        reshape: Option<&pb::ModelTensorReshape>,
    ) -> Result<(), ConfigError> {
        let what = self.what;
        let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else {
            return Err(ConfigError::Invalid(format!(
                "unexpected inference {what} '{name}', allowed {what}s are: {}",
                self.names()
            )));
        };
        if datatype_of(data_type) != Some(tensor.datatype) {
            return Err(ConfigError::Invalid(format!(
                "unable to load model '{}', configuration expects datatype {} for {what} '{name}', \
                 model provides {}",
                self.config.name,
                datatype_name(data_type),
                datatype_name(data_type_of(tensor.datatype).into()),
            )));
        }
        let wanted = Shape::from(reshape.map_or(dims, |reshape| reshape.shape.as_slice()));
        self.check_shape(tensor, &wanted)
    }

    fn check_shape(&self, tensor: &EngineTensor, dims: &Shape) -> Result<(), ConfigError> {
        let batched = self.config.max_batch_size > 0;
        // A scalar of a model without batching is written as [1], [1, 1] and so on.
        let ones = !dims.is_empty() && dims.iter().all(|&dim| dim == 1);
        let scalar = !batched && tensor.dims.is_empty() && ones;
        let full = if batched {
            dims.with_leading(-1)
        } else {
            dims.clone()
        };
        if scalar || tensor.dims.accepts(&full) || self.is_told_wider(tensor, &full) {
            return Ok(());
        }
        let batch_note = if batched {
            " (an initial batch dimension because max_batch_size > 0, then the dims of the \
             configuration)"
        } else {
            ""
        };
        let reason = if full.len() == tensor.dims.len() {
            String::new()
        } else {
            format!(
                "; these are {} and {} dimensions",
                tensor.dims.len(),
                full.len()
            )
        };
        Err(ConfigError::Invalid(format!(
            "model '{}', {} '{}': the model has shape {}, but the configuration specifies shape \
             {full}{batch_note}{reason}",
            self.config.name, self.what, tensor.name, tensor.dims
        )))
    }

    /// Whether an output's configuration leaves open what the engine knows. So it is where the configuration was
    /// completed from a model that was not optimised yet: folding constants may tell an engine more.
    fn is_told_wider(&self, tensor: &EngineTensor, dims: &Shape) -> bool {
        let has_batches = tensor.dims.first() == Some(&-1);
        self.what == OUTPUT
            && (self.config.max_batch_size == 0 || has_batches)
            && dims.accepts(&tensor.dims)
    }

    /// Values that the engine reads on the host must not be given to it on a device, nor the reverse.
    fn check_shape_tensor(&self, name: &str, said: bool) -> Result<(), ConfigError> {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name);
        match tensor.is_some_and(|tensor| tensor.is_shape != said) {
            false => Ok(()),
            true => Err(ConfigError::Invalid(format!(
                "unable to load model '{}', is_shape_tensor of {} '{name}' is {said} in the configuration, \
                 {} in the model",
                self.config.name, self.what, !said
            ))),
        }
    }

    fn check_complete(&self) -> Result<(), ConfigError> {
        let given = |tensor: &&EngineTensor| {
            let names = self.config.input.iter().map(|input| &input.name);
            names.into_iter().any(|name| *name == tensor.name)
        };
        match self.tensors.iter().find(|tensor| !given(tensor)) {
            None => Ok(()),
            Some(missing) => Err(ConfigError::Invalid(format!(
                "unable to load model '{}', configuration expects {} inputs, model provides {}: \
                 input '{}' is missing, the model's inputs are: {}",
                self.config.name,
                self.config.input.len(),
                self.tensors.len(),
                missing.name,
                self.names()
            ))),
        }
    }

    /// In alphabetical order, as Triton lists them.
    fn names(&self) -> String {
        let mut names: Vec<_> = self.tensors.iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        names.join(", ")
    }
}
