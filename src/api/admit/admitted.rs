//! What an act that was let in may reach.

use std::{ops::Deref, sync::Arc};

use tokio::{sync::watch, task::spawn_blocking};

use super::Caller;
use crate::{
    admission::{Permit, Verb},
    api::{Api, Stage, probes::Verdict},
    device::OpenDevice,
    error::{Error, Result},
    inference::ModelName,
    model::{Lease, Model},
    repository::{IndexEntry, Overrides, Registry, Repository},
    shared_memory::{RegionKind, Regions},
    telemetry::logging::Logging,
    trace::Tracing,
};

/// Changes of the server's stage and of what its models are.
#[derive(Debug)]
pub(in crate::api) struct Changes {
    models: watch::Receiver<()>,
    stage: watch::Receiver<()>,
}

impl Changes {
    /// Waits for the next one since it was last waited for.
    pub(in crate::api) async fn next(&mut self) {
        // An error is the sender's end, which is the server's.
        tokio::select! {
            _ = self.models.changed() => {}
            _ = self.stage.changed() => {}
        }
    }
}

/// One act that the gate has let in, on the model that it was asked about.
#[derive(Debug)]
pub(in crate::api) struct Admitted<'a> {
    caller: &'a Caller,
    verb: Verb,
    model: &'a str,
    /// Given back when the request has been answered.
    permit: Permit,
}

impl<'a> Admitted<'a> {
    /// What `caller` may do with `model` by this permit.
    pub(super) fn new(caller: &'a Caller, verb: Verb, model: &'a str, permit: Permit) -> Self {
        Self {
            caller,
            verb,
            model,
            permit,
        }
    }
}

impl Deref for Admitted<'_> {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.caller.api
    }
}

impl Admitted<'_> {
    /// Counts a request's input against the caller's quota.
    pub(in crate::api) fn charge(&self, byte_size: usize) {
        self.permit.charge(byte_size);
    }

    /// The name of the model that the act is about, as the client wrote it.
    pub(in crate::api) fn model(&self) -> &str {
        self.model
    }

    /// Header fields that become parameters: names and values.
    pub(in crate::api) fn forwarded(&self) -> &[(String, String)] {
        self.caller.fields.forwarded.as_deref().unwrap_or_default()
    }

    /// The model for a request that is about to use it. Not refused while the server is exiting:
    /// what still arrives on an open connection is answered, and then the connection is closed.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub(in crate::api) fn resolve(&self, version: Option<u64>) -> Result<Lease> {
        self.registry().resolve(self.model, version)
    }

    /// The model for a request that takes exactly one response through `door`.
    ///
    /// # Errors
    /// As [`Registry::resolve`]; `Unimplemented` for a model that may have any number of them.
    pub(in crate::api) fn resolve_unary(&self, version: Option<u64>, door: &str) -> Result<Lease> {
        let lease = self.resolve(version)?;
        if lease.config().decoupled {
            return Err(Error::unimplemented(
                "decoupled",
                format!("{door} doesn't support models with decoupled transaction policy"),
            ));
        }
        Ok(lease)
    }

    /// The proof that the request was let in, for an answer that outlives this.
    pub(in crate::api) fn into_permit(self) -> Permit {
        self.permit
    }

    /// Whether that version of the model (or the highest that serves, for `None`) serves and can.
    ///
    /// # Errors
    /// `NotFound` or `Unavailable`, with the reason, if not.
    pub(in crate::api) fn model_ready(&self, version: Option<u64>) -> Result<()> {
        if self.registry().resolve(self.model, version)?.is_able() {
            return Ok(());
        }
        Err(Error::unavailable(
            "devices_lost",
            format!(
                "every device that model '{}' runs on is lost, the server has to be restarted",
                self.model
            ),
        ))
    }

    /// The versions of the model that serve, ascending.
    pub(in crate::api) fn ready_versions(&self) -> Vec<u64> {
        self.registry().ready_versions(self.model)
    }

    /// Whether every version that is known serves and can.
    pub(in crate::api) fn all_ready(&self) -> bool {
        let is_able = |model: &Arc<Model>| model.is_able();
        self.registry().all_ready() && self.registry().ready_models().iter().all(is_able)
    }

    /// The devices that models run on or ran on.
    pub(in crate::api) fn opened_devices(&self) -> Vec<Arc<OpenDevice>> {
        self.caller.api.interior.devices.opened()
    }

    /// Everything that serves and that the caller may see.
    pub(in crate::api) fn ready_models(&self) -> Vec<Arc<Model>> {
        let mut models = self.registry().ready_models();
        models.retain(|model| self.sees(model.name()));
        models
    }

    /// The rows of the repository index that the caller may see.
    pub(in crate::api) fn entries(&self, ready_only: bool) -> Vec<IndexEntry> {
        let mut entries = self.registry().index(ready_only);
        entries.retain(|entry| self.sees(&entry.name));
        entries
    }

    /// All rows of the repository index, for a verdict on the server as a whole.
    pub(in crate::api) fn all_entries(&self) -> Vec<IndexEntry> {
        self.registry().index(false)
    }

    /// Whether the server could get on by itself: false only if its control loop is gone.
    pub(in crate::api) fn liveness(&self) -> Verdict {
        if self.repository().is_running() || self.readiness.stage() == Stage::Exiting {
            return Verdict::default();
        }
        Verdict::no("the model repository's control loop has ended", [])
    }

    /// Is told of whatever may change what a probe says.
    pub(in crate::api) fn changes(&self) -> Changes {
        Changes {
            models: self.registry().changes(),
            stage: self.readiness.changes(),
        }
    }

    /// Has the index name what is in the folders now.
    ///
    /// # Errors
    /// As [`Repository::look`].
    pub(in crate::api) async fn look(&self) -> Result<()> {
        self.repository().look().await
    }

    /// Loads or reloads the model; returns when it is ready.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that no model can have; as [`Repository::load`].
    pub(in crate::api) async fn load(&self, overrides: Overrides) -> Result<()> {
        let model = ModelName::new(self.model)?;
        self.repository().load(model, overrides).await
    }

    /// Begins to unload the model.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that no model can have; as [`Repository::unload`].
    pub(in crate::api) async fn unload(&self, unload_dependents: bool) -> Result<()> {
        let model = ModelName::new(self.model)?;
        self.repository().unload(model, unload_dependents).await
    }

    /// The regions of shared memory, for whatever act: what is in them belongs to every caller that
    /// may use them, and to nobody else.
    ///
    /// # Errors
    /// As [`crate::admission::Gate::check`].
    pub(in crate::api) fn regions(&self) -> Result<&Regions> {
        self.caller.check_right(Verb::SharedMemory)?;
        Ok(&self.caller.api.interior.regions)
    }

    /// Registers memory of a CUDA device; see [`Regions::register_cuda`]. Off the front door's threads: a
    /// device that nobody has used takes a while to open.
    ///
    /// # Errors
    /// As [`Regions::register_cuda`] and [`Admitted::regions`].
    pub(in crate::api) async fn register_cuda(
        &self,
        name: String,
        handle: Vec<u8>,
        device: i64,
        byte_size: u64,
    ) -> Result<()> {
        self.regions()?;
        let api = Arc::clone(&self.caller.api);
        let register = move || {
            let regions = &api.interior.regions;
            regions.register_cuda(&name, &handle, device, byte_size)
        };
        spawn_blocking(register)
            .await
            .unwrap_or_else(|_| Err(Error::internal("shared_memory", "registering was stopped")))
    }

    /// Whether regions of this kind can be registered.
    pub(in crate::api) fn offers(&self, kind: RegionKind) -> bool {
        self.caller.api.interior.regions.offers(kind)
    }

    /// What is traced.
    pub(in crate::api) fn tracing(&self) -> &Tracing {
        &self.caller.api.interior.tracing
    }

    /// The process's logs.
    pub(in crate::api) fn logging(&self) -> &Logging {
        &self.caller.api.interior.logging
    }

    fn sees(&self, model: &str) -> bool {
        let gate = &self.caller.api.gate;
        gate.allows(&self.caller.identity, self.verb, model)
    }

    fn registry(&self) -> &Registry {
        &self.caller.api.interior.registry
    }

    fn repository(&self) -> &Repository {
        &self.caller.api.interior.repository
    }
}
