//! What is known of a model that is asked.

use crate::{
    proto::inference::{ModelConfig, model_config::SchedulingChoice},
    tensor::{Datatype, Shape},
};

/// A model, as its server describes it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) name: String,
    /// The version that is asked; none leaves the choice to the server.
    pub(super) version: Option<u64>,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
    /// Whether shapes have a batch dimension in front, which is not part of [`TensorSpec::dims`].
    pub(super) batched: bool,
    /// Whether a request may have any number of responses.
    pub(super) decoupled: bool,
    /// Whether it keeps state between the requests of a sequence.
    pub(super) is_sequential: bool,
}

/// Whether a configuration's model keeps state between the requests of a sequence.
pub(super) fn is_sequential(config: &ModelConfig) -> bool {
    let choice = config.scheduling_choice.as_ref();
    matches!(choice, Some(SchedulingChoice::SequenceBatching(_)))
}

/// An input or an output.
#[derive(Clone, Debug)]
pub(super) struct TensorSpec {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    /// Dimensions of one row; -1 for any.
    pub(super) dims: Vec<i64>,
}

impl Model {
    pub(super) fn input(&self, name: &str) -> Option<&TensorSpec> {
        self.inputs.iter().find(|spec| spec.name == name)
    }

    pub(super) fn output(&self, name: &str) -> Option<&TensorSpec> {
        self.outputs.iter().find(|spec| spec.name == name)
    }
}

impl TensorSpec {
    /// Whether rows of that shape are allowed.
    pub(super) fn accepts(&self, dims: &[i64]) -> bool {
        Shape::from(&self.dims[..]).accepts(dims)
    }

    /// How the dimensions are written.
    pub(super) fn shape_text(&self) -> String {
        Shape::from(&self.dims[..]).to_string()
    }
}
