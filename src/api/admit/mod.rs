//! Between the doors and the rooms below lies the gate. A door makes a [`Caller`] of each request
//! and can do nothing with it but ask for an act to be admitted; only what it gets then, an
//! [`Admitted`], reaches models and the repository. So no route and no RPC can forget the gate: it
//! would have nothing to answer with.

mod admitted;

use std::{ops::Deref, sync::Arc};

use hyper::HeaderMap;

pub(super) use self::admitted::Admitted;
use super::{
    Api,
    headers::{Fields, HeaderRules},
};
use crate::{
    admission::{Identity, Verb},
    device::Devices,
    error::{Error, Result},
    repository::{Registry, Repository},
    shared_memory::Regions,
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
        Ok(Admitted::new(self, verb, model, permit))
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
