//! Runs batches on an engine: one context for each profile that the instance uses, on its lane's compute
//! stream.

use std::sync::Arc;

use super::{
    context::{ExecutionContext, Workspace},
    engine::{Engine, EngineTensor},
    profile::{Profile, choose},
};
use crate::{
    backend::{BackendError, Batch, DeviceExecutor, Executor, Graphs, on_device},
    device::{
        Lane,
        cuda::{DeviceError, DeviceSpan, Work},
    },
    model_config::ModelConfig,
    tensor::{Buffer, Shape, Tensor},
};

/// An instance's part of an engine.
pub(super) struct EngineExecutor {
    // Dropped first: they use the contexts.
    graphs: Graphs,
    contexts: Vec<ExecutionContext>,
    /// Those of the contexts.
    profiles: Vec<Profile>,
    bindings: Bindings,
    engine: Arc<Engine>,
    // Dropped last: what the contexts work in was taken beside it.
    lane: Arc<Lane>,
}

/// Which of the model's tensors the engine's are.
#[derive(Debug)]
struct Bindings {
    /// By the engine's inputs: the model's.
    inputs: Vec<usize>,
    /// By the engine's outputs: the model's, if it has them.
    outputs: Vec<Option<usize>>,
    has_batch_dimension: bool,
}

/// What an execution makes of an output.
struct Made {
    span: DeviceSpan,
    shape: Shape,
}

impl EngineExecutor {
    /// An instance that runs in those profiles of the engine.
    ///
    /// # Errors
    /// If the device has no memory for the contexts, or TensorRT refuses.
    pub(super) fn new(
        engine: Arc<Engine>,
        profiles: &[usize],
        lane: Arc<Lane>,
        config: &ModelConfig,
    ) -> Result<Self, BackendError> {
        let workspace = Workspace::for_profiles(&engine, profiles, &lane)?;
        let context =
            |&profile: &usize| ExecutionContext::new(&engine, profile, &lane, workspace.as_ref());
        let contexts = profiles.iter().map(context).collect::<Result<_, _>>()?;
        let chosen = profiles
            .iter()
            .filter_map(|&profile| engine.profiles.get(profile));
        let mut executor = Self {
            graphs: Graphs::default(),
            contexts,
            profiles: chosen.cloned().collect(),
            bindings: Bindings::new(&engine, config)?,
            engine,
            lane,
        };
        executor.capture(config)?;
        Ok(executor)
    }

    /// Captures graphs, if the configuration asks for them. Without them it runs as well.
    fn capture(&mut self, config: &ModelConfig) -> Result<(), BackendError> {
        if self.engine.inputs.iter().any(|input| input.is_on_host) {
            // What is read on the host is not read again by a graph.
            return Ok(());
        }
        match Graphs::capture(self, config) {
            Ok(graphs) => self.graphs = graphs,
            Err(
                error @ (BackendError::InvalidModel(_)
                | BackendError::Device(DeviceError::Lost { .. })),
            ) => {
                return Err(error);
            }
            Err(error) => tracing::warn!(model = %config.name, "runs without CUDA graphs: {error}"),
        }
        Ok(())
    }

    /// The inputs' shapes as the engine is to see them, in its order.
    fn shapes(&self, batch: &Batch) -> Result<Vec<Shape>, BackendError> {
        let inputs = self.engine.inputs.iter().zip(&self.bindings.inputs);
        inputs
            .map(|(input, &index)| {
                let tensor = batch.input(index).ok_or_else(|| {
                    BackendError::InvalidInput(format!(
                        "the engine needs input '{}'",
                        input.label()
                    ))
                })?;
                seen_by_engine(input, tensor)
            })
            .collect()
    }

    fn misfit(&self, shapes: &[Shape]) -> BackendError {
        let misfits = self.profiles.iter().filter_map(|profile| {
            let index = profile.misfit(shapes)?;
            let (input, range) = (self.engine.inputs.get(index)?, profile.inputs.get(index)?);
            let shape = shapes.get(index)?;
            Some(format!(
                "input '{}' has shape {shape}, this takes {} to {}",
                input.label(),
                range.min,
                range.max
            ))
        });
        let misfits: Vec<_> = misfits.collect();
        BackendError::InvalidInput(format!(
            "no optimization profile of the engine takes the request: {}",
            misfits.join("; ")
        ))
    }
}

impl DeviceExecutor for EngineExecutor {
    fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    fn reads_on_host(&self, input: usize) -> bool {
        let mut inputs = self.engine.inputs.iter().zip(&self.bindings.inputs);
        inputs.any(|(tensor, &index)| index == input && tensor.is_on_host)
    }

    fn enqueue(&mut self, batch: &mut Batch, work: &mut Work) -> Result<(), BackendError> {
        let shapes = self.shapes(batch)?;
        let chosen = choose(&self.profiles, &shapes).ok_or_else(|| self.misfit(&shapes))?;
        let Some(context) = self.contexts.get_mut(chosen) else {
            return Err(self.misfit(&shapes));
        };
        let run = Run {
            engine: &self.engine,
            bindings: &self.bindings,
            lane: &self.lane,
        };
        let made = run.execute(context, batch, &shapes, work);
        context.unbind();
        run.deliver(made?, batch);
        Ok(())
    }
}

impl Executor for EngineExecutor {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        on_device::execute_alone(self, batch)
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceExecutor> {
        Some(self)
    }
}

/// One execution.
struct Run<'a> {
    engine: &'a Engine,
    bindings: &'a Bindings,
    lane: &'a Arc<Lane>,
}

impl Run<'_> {
    /// What the engine makes of its outputs, in its order.
    fn execute(
        &self,
        context: &mut ExecutionContext,
        batch: &Batch,
        shapes: &[Shape],
        work: &mut Work,
    ) -> Result<Vec<Made>, BackendError> {
        for ((input, &index), shape) in self
            .engine
            .inputs
            .iter()
            .zip(&self.bindings.inputs)
            .zip(shapes)
        {
            let data = batch.input(index).map(|tensor| &tensor.data);
            let taken = input
                .dims
                .contains(&-1)
                .then(|| context.set_shape(&input.name, shape));
            let bound = data.and_then(|data| match input.is_on_host {
                true => context.bind_values(&input.name, &data.to_host_bytes()?),
                false => context.bind(&input.name, on_device::device_span(data)?),
            });
            if taken == Some(None) || bound.is_none() {
                return Err(
                    context.refused(&format!("take input '{}' of shape {shape}", input.label()))
                );
            }
        }
        context
            .infer_shapes()
            .ok_or_else(|| context.refused("work out the shapes of the outputs"))?;
        let known = self
            .engine
            .outputs
            .iter()
            .map(|output| self.prepare(context, output));
        let known: Vec<Option<Made>> = known.collect::<Result<_, _>>()?;
        context.enqueue(work)?;
        let outputs = self.engine.outputs.iter().zip(known);
        outputs
            .map(|(output, made)| match made {
                Some(made) => Ok(made),
                None => context
                    .allocated(&output.name)
                    .map(|(span, shape)| Made { span, shape })
                    .ok_or_else(|| {
                        context.failed(&format!(
                            "say what output '{}' turned out to be",
                            output.label()
                        ))
                    }),
            })
            .collect()
    }

    /// Memory for an output whose size is known; for another, TensorRT will ask.
    fn prepare(
        &self,
        context: &mut ExecutionContext,
        output: &EngineTensor,
    ) -> Result<Option<Made>, BackendError> {
        let refused = |context: &ExecutionContext, what: &str| {
            context.failed(&format!("{what} output '{}'", output.label()))
        };
        let shape = context
            .shape(&output.name)
            .ok_or_else(|| refused(context, "say the shape of"))?;
        if shape.iter().any(|dim| *dim < 0) {
            let prepared = context.allocate(&output.name, self.lane.pool());
            return prepared
                .map(|()| None)
                .ok_or_else(|| refused(context, "take an allocator for"));
        }
        let byte_size = shape.byte_size(output.datatype);
        let byte_size = byte_size.ok_or_else(|| refused(context, "bound the size of"))?;
        let span = self.lane.pool().take(byte_size)?;
        context
            .bind(&output.name, &span)
            .ok_or_else(|| refused(context, "take memory for"))?;
        Ok(Some(Made { span, shape }))
    }

    /// Gives the batch the outputs that it wants.
    fn deliver(&self, made: Vec<Made>, batch: &mut Batch) {
        let outputs = self.engine.outputs.iter().zip(&self.bindings.outputs);
        for ((output, index), made) in outputs.zip(made) {
            let Some(index) = index.filter(|index| batch.wants(*index)) else {
                continue;
            };
            let Some(byte_size) = made.shape.byte_size(output.datatype) else {
                continue;
            };
            // What TensorRT took may be more than what it filled.
            let Some(span) = made.span.part(0, byte_size) else {
                continue;
            };
            let is_scalar = made.shape.is_empty() && !self.bindings.has_batch_dimension;
            let shape = if is_scalar {
                Shape::new([1])
            } else {
                made.shape
            };
            if let Some(place) = batch.outputs.get_mut(index) {
                *place = Some(Tensor {
                    datatype: output.datatype,
                    shape,
                    data: Buffer::Foreign(Arc::new(span)),
                });
            }
        }
    }
}

impl Bindings {
    /// For an engine that agrees with the configuration.
    fn new(engine: &Engine, config: &ModelConfig) -> Result<Self, BackendError> {
        let input = |tensor: &EngineTensor| {
            let mut inputs = config.inputs.iter();
            inputs
                .position(|input| input.name.as_bytes() == tensor.name.as_bytes())
                .ok_or_else(|| {
                    BackendError::InvalidModel(format!(
                        "the model has no input '{}'",
                        tensor.label()
                    ))
                })
        };
        let output = |tensor: &EngineTensor| {
            let mut outputs = config.outputs.iter();
            outputs.position(|output| output.name.as_bytes() == tensor.name.as_bytes())
        };
        Ok(Self {
            inputs: engine.inputs.iter().map(input).collect::<Result<_, _>>()?,
            outputs: engine.outputs.iter().map(output).collect(),
            has_batch_dimension: config.max_batch_size > 0,
        })
    }
}

/// The shape of an input for the engine. Nothing that it would read beyond the tensor's bytes passes.
fn seen_by_engine(input: &EngineTensor, tensor: &Tensor) -> Result<Shape, BackendError> {
    // A scalar of a model without batching comes as [1].
    let shape = match input.dims.is_empty() && tensor.shape[..] == [1] {
        true => Shape::default(),
        false => tensor.shape.clone(),
    };
    let fits = input.dims.accepts(&shape)
        && tensor.datatype == input.datatype
        && shape.byte_size(input.datatype) == Some(tensor.data.byte_size());
    match fits {
        true => Ok(shape),
        false => Err(BackendError::InvalidInput(format!(
            "input '{}' is {} of shape {} in {} bytes, the engine takes {} of shape {}",
            input.label(),
            tensor.datatype,
            tensor.shape,
            tensor.data.byte_size(),
            input.datatype,
            input.dims
        ))),
    }
}
