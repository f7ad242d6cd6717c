//! Between the doors and the rooms below lies the gate. A door makes a [`Caller`] of each request
//! and can do nothing with it but ask for an act to be admitted; only what it gets then, an
//! [`Admitted`], reaches models and the repository. So no route and no RPC can forget the gate: it
//! would have nothing to answer with.

use std::{ops::Deref, sync::Arc};

use hyper::HeaderMap;
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    Api, Stage,
    headers::{Fields, HeaderRules},
    probes::Verdict,
};
use crate::{
    admission::{Identity, Permit, Verb},
    device::{Devices, OpenDevice},
    error::{Error, Result},
    inference::ModelName,
    model::{Lease, Model},
    repository::{IndexEntry, Overrides, Registry, Repository},
    shared_memory::{RegionKind, Regions},
    telemetry::logging::Logging,
    trace::Tracing,
};

/// Why an act was refused that another listener is for ([`Error::reason`]).
pub(super) const ELSEWHERE: &str = "management_listener";

/// The rooms that lie behind the gate. Opaque to the doors.
#[derive(Debug)]
pub struct Interior {
    registry: Arc<Registry>,
    repository: Repository,
    regions: Regions,
    logging: Arc<Logging>,
    tracing: Arc<Tracing>,
    devices: Arc<Devices>,
}

impl Interior {
    /// `registry` holds the model versions there are, `repository` loads and unloads them,
    /// `regions` is the memory that clients share.
    pub fn new(registry: Arc<Registry>, repository: Repository, regions: Regions) -> Self {
        Self {
            registry,
            repository,
            regions,
            logging: Arc::default(),
            tracing: Arc::default(),
            devices: Arc::default(),
        }
    }

    /// The devices that models run on.
    #[must_use]
    pub fn with_devices(self, devices: Arc<Devices>) -> Self {
        Self { devices, ..self }
    }

    /// The process's logs, which clients may read and change.
    #[must_use]
    pub fn with_logging(self, logging: Arc<Logging>) -> Self {
        Self { logging, ..self }
    }

    /// What is traced, which clients may read and change.
    #[must_use]
    pub fn with_tracing(self, tracing: Arc<Tracing>) -> Self {
        Self { tracing, ..self }
    }
}

impl Api {
    /// Whether any request may be traced.
    pub(super) fn is_tracing(&self) -> bool {
        self.interior.tracing.is_on()
    }
}

/// One request's sender, before anything was admitted.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    api: Arc<Api>,
    identity: Identity,
    entrance: Entrance,
    /// Whether it came to a listener for management.
    at_management: bool,
    fields: Fields,
}

/// Which door a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    Http,
    Grpc,
    Metrics,
}

impl Caller {
    pub(super) fn new(api: Arc<Api>, identity: Identity, entrance: Entrance) -> Self {
        Self {
            api,
            identity,
            entrance,
            at_management: false,
            fields: Fields::default(),
        }
    }

    /// The same, at a listener for management or not.
    pub(super) fn at_management(self, at_management: bool) -> Self {
        Self {
            at_management,
            ..self
        }
    }

    /// The same with what was read of the header fields.
    pub(super) fn with_fields(self, fields: Fields) -> Self {
        Self { fields, ..self }
    }

    /// Finds out from a request's header fields who it is. Without credentials in them it stays
    /// whom its connection's client certificate stands for, or nobody.
    ///
    /// # Errors
    /// As [`crate::admission::Gate::identify`] and [`HeaderRules::read`].
    pub(super) fn identify(&mut self, headers: &HeaderMap) -> Result<()> {
        if let Some(rules) = self.rules() {
            self.fields = rules.read(headers)?;
        }
        if let Some(identity) = self.api.gate.identify(headers)? {
            self.identity = identity;
        }
        Ok(())
    }

    /// What was read of its header fields.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    fn rules(&self) -> Option<&HeaderRules> {
        match self.entrance {
            Entrance::Http => Some(&self.api.http_headers),
            Entrance::Grpc => Some(&self.api.grpc_headers),
            Entrance::Metrics => None,
        }
    }

    /// # Errors
    /// As [`HeaderRules::check`].
    fn refuse_locked(&self, verb: Verb) -> Result<()> {
        let rules = self.rules();
        rules.map_or(Ok(()), |rules| rules.check(verb, &self.fields))
    }

    /// # Errors
    /// `Unimplemented` for an act of management where there is a listener for those, and the caller
    /// came to another.
    fn refuse_elsewhere(&self, verb: Verb) -> Result<()> {
        if self.at_management || !self.api.has_management || !verb.is_management() {
            return Ok(());
        }
        Err(Error::unimplemented(
            ELSEWHERE,
            format!(
                "'{verb}' is answered by the management listener only (see \
                 --management-http-port and --management-grpc-port)"
            ),
        ))
    }

    /// Who it is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Has the gate let one act in; an empty `model` is the server itself, or of all models those
    /// that the caller may see.
    ///
    /// # Errors
    /// As [`crate::admission::Gate::admit`] and [`HeaderRules::check`]; `Unimplemented` for an act of
    /// management where another listener is for those.
    pub(super) fn admit<'a>(&'a self, verb: Verb, model: &'a str) -> Result<Admitted<'a>> {
        self.refuse_elsewhere(verb)?;
        self.refuse_locked(verb)?;
        let permit = self.api.gate.admit(&self.identity, verb, model)?;
        Ok(Admitted {
            caller: self,
            verb,
            model,
            permit,
        })
    }

    /// Refuses a caller that may not do `verb` with any model, before its message has been read
    /// and it is known which model that names.
    ///
    /// # Errors
    /// As [`Caller::admit`], but for quotas.
    pub(super) fn check(&self, verb: Verb) -> Result<()> {
        self.refuse_elsewhere(verb)?;
        self.check_right(verb)
    }

    /// Whether it may do `verb` at all, at whichever listener.
    fn check_right(&self, verb: Verb) -> Result<()> {
        self.refuse_locked(verb)?;
        self.api.gate.check(&self.identity, verb, "")
    }
}

/// The settings, which are no secret. The rooms are not among what this reaches.
impl Deref for Caller {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Changes of the server's stage and of what its models are.
#[derive(Debug)]
pub(super) struct Changes {
    models: watch::Receiver<()>,
    stage: watch::Receiver<()>,
}

impl Changes {
    /// Waits for the next one since it was last waited for.
    pub(super) async fn next(&mut self) {
        // An error is the sender's end, which is the server's.
        tokio::select! {
            _ = self.models.changed() => {}
            _ = self.stage.changed() => {}
        }
    }
}

/// One act that the gate has let in, on the model that it was asked about.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    caller: &'a Caller,
    verb: Verb,
    model: &'a str,
    /// Given back when the request has been answered.
    permit: Permit,
}

impl Deref for Admitted<'_> {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.caller.api
    }
}

impl Admitted<'_> {
    /// Counts a request's input against the caller's quota.
    pub(super) fn charge(&self, byte_size: usize) {
        self.permit.charge(byte_size);
    }

    /// The name of the model that the act is about, as the client wrote it.
    pub(super) fn model(&self) -> &str {
        self.model
    }

    /// Header fields that become parameters: names and values.
    pub(super) fn forwarded(&self) -> &[(String, String)] {
        self.caller.fields.forwarded.as_deref().unwrap_or_default()
    }

    /// The model for a request that is about to use it. Not refused while the server is exiting:
    /// what still arrives on an open connection is answered, and then the connection is closed.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub(super) fn resolve(&self, version: Option<u64>) -> Result<Lease> {
        self.registry().resolve(self.model, version)
    }

    /// The model for a request that takes exactly one response through `door`.
    ///
    /// # Errors
    /// As [`Registry::resolve`]; `Unimplemented` for a model that may have any number of them.
    pub(super) fn resolve_unary(&self, version: Option<u64>, door: &str) -> Result<Lease> {
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
    pub(super) fn into_permit(self) -> Permit {
        self.permit
    }

    /// Whether that version of the model (or the highest that serves, for `None`) serves and can.
    ///
    /// # Errors
    /// `NotFound` or `Unavailable`, with the reason, if not.
    pub(super) fn model_ready(&self, version: Option<u64>) -> Result<()> {
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
    pub(super) fn ready_versions(&self) -> Vec<u64> {
        self.registry().ready_versions(self.model)
    }

    /// Whether every version that is known serves and can.
    pub(super) fn all_ready(&self) -> bool {
        let is_able = |model: &Arc<Model>| model.is_able();
        self.registry().all_ready() && self.registry().ready_models().iter().all(is_able)
    }

    /// The devices that models run on or ran on.
    pub(super) fn opened_devices(&self) -> Vec<Arc<OpenDevice>> {
        self.caller.api.interior.devices.opened()
    }

    /// Everything that serves and that the caller may see.
    pub(super) fn ready_models(&self) -> Vec<Arc<Model>> {
        let mut models = self.registry().ready_models();
        models.retain(|model| self.sees(model.name()));
        models
    }

    /// The rows of the repository index that the caller may see.
    pub(super) fn entries(&self, ready_only: bool) -> Vec<IndexEntry> {
        let mut entries = self.registry().index(ready_only);
        entries.retain(|entry| self.sees(&entry.name));
        entries
    }

    /// All rows of the repository index, for a verdict on the server as a whole.
    pub(super) fn all_entries(&self) -> Vec<IndexEntry> {
        self.registry().index(false)
    }

    /// Whether the server could get on by itself: false only if its control loop is gone.
    pub(super) fn liveness(&self) -> Verdict {
        if self.repository().is_running() || self.readiness.stage() == Stage::Exiting {
            return Verdict::default();
        }
        Verdict::no("the model repository's control loop has ended", [])
    }

    /// Is told of whatever may change what a probe says.
    pub(super) fn changes(&self) -> Changes {
        Changes {
            models: self.registry().changes(),
            stage: self.readiness.changes(),
        }
    }

    /// Has the index name what is in the folders now.
    ///
    /// # Errors
    /// As [`Repository::look`].
    pub(super) async fn look(&self) -> Result<()> {
        self.repository().look().await
    }

    /// Loads or reloads the model; returns when it is ready.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that no model can have; as [`Repository::load`].
    pub(super) async fn load(&self, overrides: Overrides) -> Result<()> {
        let model = ModelName::new(self.model)?;
        self.repository().load(model, overrides).await
    }

    /// Begins to unload the model.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that no model can have; as [`Repository::unload`].
    pub(super) async fn unload(&self, unload_dependents: bool) -> Result<()> {
        let model = ModelName::new(self.model)?;
        self.repository().unload(model, unload_dependents).await
    }

    /// The regions of shared memory, for whatever act: what is in them belongs to every caller that
    /// may use them, and to nobody else.
    ///
    /// # Errors
    /// As [`crate::admission::Gate::check`].
    pub(super) fn regions(&self) -> Result<&Regions> {
        self.caller.check_right(Verb::SharedMemory)?;
        Ok(&self.caller.api.interior.regions)
    }

    /// Registers memory of a CUDA device; see [`Regions::register_cuda`]. Off the front door's threads: a
    /// device that nobody has used takes a while to open.
    ///
    /// # Errors
    /// As [`Regions::register_cuda`] and [`Admitted::regions`].
    pub(super) async fn register_cuda(
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
    pub(super) fn offers(&self, kind: RegionKind) -> bool {
        self.caller.api.interior.regions.offers(kind)
    }

    /// What is traced.
    pub(super) fn tracing(&self) -> &Tracing {
        &self.caller.api.interior.tracing
    }

    /// The process's logs.
    pub(super) fn logging(&self) -> &Logging {
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
