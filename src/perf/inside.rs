//! A server without doors: its rooms in this process, asked straight at their models.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    control::{ModelStatistics, Statistics},
    data::{self, Data, Tensor},
    driver::InsideCalls,
    model::{Model, TensorSpec, is_sequential},
};
use crate::{
    config::Config,
    inference::{DurationSnapshot, ModelName},
    model_config::{self, ModelConfig},
    proto::inference as pb,
    repository::{ControlMode, Overrides, Registry},
    server::{Rooms, assemble},
    telemetry::logging::Logging,
};

/// How long unloading may take at the end.
const UNLOAD_TIME: Duration = Duration::from_secs(30);

/// The rooms, with the models that are asked.
pub struct Inside {
    rooms: Rooms,
    runtime: tokio::runtime::Runtime,
}

impl Inside {
    /// Loads these models, of a server that would be configured like that.
    ///
    /// # Errors
    /// If there is no repository, or a model cannot be loaded.
    pub fn open(config: &Config, models: Vec<String>) -> Result<Self> {
        let mut config = config.clone();
        config.repository.control_mode = ControlMode::Explicit;
        config.repository.load_models = models;
        "error".clone_into(&mut config.log.filter);
        let logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
        let rooms = assemble(&config, Arc::new(logging))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.context("no runtime")?;
        let loaded = runtime.block_on(rooms.repository.initial_load_finished());
        let inside = Self { rooms, runtime };
        match loaded?.first() {
            None => Ok(inside),
            Some(failure) => bail!(
                "model {} cannot be loaded: {}",
                failure.model,
                failure.reason
            ),
        }
    }

    /// Loads a model anew, with that configuration instead of its folder's.
    ///
    /// # Errors
    /// If it cannot be loaded so; it then goes on as it was.
    pub fn reload(&self, model: &ModelName, config: &pb::ModelConfig) -> Result<()> {
        let overrides = Overrides {
            config: Some(model_config::to_json(config)),
            files: Vec::new(),
        };
        let loaded = self.rooms.repository.load(model.clone(), overrides);
        Ok(self.runtime.block_on(loaded)?)
    }

    /// Begins to unload a model.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn unload(&self, model: &ModelName) -> Result<()> {
        let unloaded = self.rooms.repository.unload(model.clone(), false);
        Ok(self.runtime.block_on(unloaded)?)
    }

    /// The configuration that a model runs with, complete.
    ///
    /// # Errors
    /// If it is not there.
    pub fn config(&self, model: &ModelName) -> Result<ModelConfig> {
        let lease = self.registry().resolve(model.as_str(), None)?;
        Ok(lease.config().clone())
    }

    /// What a model answers to the first requests of these data, `most` at most.
    ///
    /// # Errors
    /// If the data do not fit it, or it fails.
    pub fn answers(&self, model: &ModelName, data: &Data, most: usize) -> Result<Vec<Vec<Tensor>>> {
        let model = self.model(model.as_str(), None)?;
        let mut samples = data::samples(data, &model)?;
        samples.truncate(most);
        let count = samples.len();
        let calls = InsideCalls::new(self.registry(), &[model], &[samples]);
        (0..count)
            .map(|sample| self.runtime.block_on(calls.outputs(sample)))
            .map(|answer| answer.map_err(anyhow::Error::msg))
            .collect()
    }

    /// Where models are looked up.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.rooms.registry
    }

    /// The server's name and version.
    pub(super) fn identity(&self) -> (String, String) {
        let api = &self.rooms.api;
        (api.server_name.clone(), api.server_version.clone())
    }

    /// What a model is like.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn model(&self, name: &str, version: Option<u64>) -> Result<Model> {
        let lease = self.registry().resolve(name, version)?;
        Ok(described(lease.config(), version))
    }

    /// What these models have done.
    pub(super) fn statistics(&self, models: &[Model]) -> Option<Statistics> {
        let mut all = Statistics::new();
        for model in models {
            let lease = self.registry().resolve(&model.name, model.version).ok()?;
            let done = lease.statistics().snapshot();
            let pair = |duration: DurationSnapshot| (duration.count, duration.nanoseconds);
            let statistics = ModelStatistics {
                inference_count: done.inference_count,
                execution_count: done.execution_count,
                success: pair(done.success),
                fail: pair(done.fail),
                queue: pair(done.queue),
                compute_input: pair(done.compute_input),
                compute_infer: pair(done.compute_infer),
                compute_output: pair(done.compute_output),
            };
            all.insert(model.name.clone(), statistics);
        }
        Some(all)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // What does not end in time ends with the process.
        let _ = self.rooms.repository.stop(UNLOAD_TIME);
        self.rooms.tracing.stop();
    }
}

fn described(config: &ModelConfig, version: Option<u64>) -> Model {
    let inputs = config.inputs.iter().map(|input| TensorSpec {
        name: input.name.to_string(),
        datatype: input.datatype,
        dims: input.dims.to_vec(),
    });
    let outputs = config.outputs.iter().map(|output| TensorSpec {
        name: output.name.to_string(),
        datatype: output.datatype,
        dims: output.dims.to_vec(),
    });
    Model {
        name: config.name.clone(),
        version,
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        batched: config.max_batch_size > 0,
        decoupled: config.decoupled,
        is_sequential: is_sequential(&config.proto),
    }
}
