//! A model version that is loaded: its configuration, its statistics, and the composed [`Infer`]
//! that answers it. Knows nothing of repositories and front doors.

mod accuracy;
mod check;
mod folder;
mod labels;
mod lease;
mod load;
mod stand_in;
#[cfg(test)]
mod tests;
mod warmup;

use std::{fmt, ops::Deref, sync::Arc, time::Instant};

pub use self::{
    folder::ModelFolder,
    labels::Labels,
    lease::{LeaseGuard, Leases},
    load::{LoadRequest, Loader, LoaderConfig, with_engine},
};
use crate::{
    device::Account,
    inference::{Infer, ModelName, Rejected, Request, Stage, Statistics},
    model_config::ModelConfig,
};

/// A loaded model version.
pub struct Model {
    name: ModelName,
    version: u64,
    config: ModelConfig,
    /// Of each output, in the configuration's order.
    labels: Vec<Option<Labels>>,
    statistics: Arc<Statistics>,
    load_duration: std::time::Duration,
    /// Refuses nothing that passed the check, except for a full queue.
    infer: Arc<dyn Infer>,
    /// Stops and joins what serves the model; run once, when it is unloaded.
    engine: load::Engine,
    /// If it stands in for another.
    stand_in: Option<stand_in::StandIn>,
    /// Removed, if it is temporary, once the engine is gone.
    _folder: ModelFolder,
    leases: Arc<Leases>,
}

/// Keeps a model loaded while a request of its is under way.
#[derive(Debug)]
pub struct Lease {
    model: Arc<Model>,
    _guard: LeaseGuard,
}

impl Model {
    /// Its name.
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its configuration, complete.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What the classes of an output are called, if its configuration says so.
    pub fn labels(&self, output: usize) -> Option<&Labels> {
        self.labels.get(output)?.as_ref()
    }

    /// What it has done since it was loaded.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Whether another is to take its place: see [`Loader::replace`].
    pub fn is_stand_in(&self) -> bool {
        self.stand_in
            .as_ref()
            .is_some_and(stand_in::StandIn::is_pending)
    }

    /// What is to be said of it, though it serves; empty if nothing is.
    pub fn remark(&self) -> String {
        let stand_in = self.stand_in.as_ref();
        stand_in.map(stand_in::StandIn::remark).unwrap_or_default()
    }

    /// How long loading and warming up took.
    pub fn load_duration(&self) -> std::time::Duration {
        self.load_duration
    }

    /// Whether any of its instances can run a batch: not if all their devices are lost.
    pub fn is_able(&self) -> bool {
        self.engine.is_able()
    }

    /// What its instances take of devices, one account for each.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.engine.accounts()
    }

    /// A lease; `None` once the model is being unloaded.
    pub fn lease(self: &Arc<Self>) -> Option<Lease> {
        let guard = self.leases.acquire()?;
        Some(Lease {
            model: Arc::clone(self),
            _guard: guard,
        })
    }

    /// Checks the request against the configuration and hands it on. Never blocks.
    pub fn submit(&self, mut request: Request) -> Result<(), Box<Rejected>> {
        if let Some(probe) = &request.probe {
            probe.at(Stage::RequestStart, Instant::now());
        }
        match check::check(&mut request, &self.config) {
            Ok(()) => {
                if let Some(probe) = &request.probe {
                    for input in &request.inputs {
                        probe.input(&input.name, &input.tensor);
                    }
                }
                self.infer.submit(request)
            }
            Err(error) => Err(Rejected::new(request, error)),
        }
    }

    /// Says that somebody waits for an answer of this model no more.
    pub fn withdrawn(&self) {
        self.infer.withdrawn();
    }

    /// Gives out no more leases, waits until all are back, then stops the instances and frees what
    /// they hold. Blocks for as long as requests are in flight.
    pub fn unload(&self) {
        self.leases.close();
        self.leases.wait_drained();
        self.engine.stop();
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Deref for Lease {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}
