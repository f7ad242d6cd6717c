//! What is measured: a server behind one of its doors, or the rooms of one in this process.

use std::sync::Arc;

use anyhow::Result;

use super::{
    control::{Control, Door, Statistics},
    cpu::ServerProcesses,
    inside::Inside,
    model::Model,
    settings::{Protocol, Settings, Target},
};

/// A server.
pub(super) enum Server {
    Remote(Control),
    Inside(Arc<Inside>),
}

impl Server {
    /// Finds it, or starts it.
    ///
    /// # Errors
    /// If it cannot be found or started.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let (url, door) = match &settings.target {
            Target::Inside(config) => {
                let models = settings.models.iter().map(|model| model.name.clone());
                let inside = Inside::open(config, models.collect())?;
                return Ok(Self::Inside(Arc::new(inside)));
            }
            Target::Remote(url, Protocol::Http) => (url, Door::Http),
            Target::Remote(url, Protocol::Grpc | Protocol::GrpcStreaming) => (url, Door::Grpc),
        };
        let headers = settings.request.headers.clone();
        Ok(Self::Remote(Control::new(
            url,
            door,
            headers,
            settings.encryption.as_ref(),
        )?))
    }

    /// Its name and version.
    ///
    /// # Errors
    /// If it does not say.
    pub(super) fn identity(&self) -> Result<(String, String)> {
        match self {
            Self::Remote(control) => control.server(),
            Self::Inside(inside) => Ok(inside.identity()),
        }
    }

    /// What a model is like.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn model(&self, name: &str, version: Option<u64>) -> Result<Model> {
        match self {
            Self::Remote(control) => control.model(name, version),
            Self::Inside(inside) => inside.model(name, version),
        }
    }

    /// What models have done; `None` if it does not tell.
    pub(super) fn statistics(&self, models: &[Model]) -> Option<Statistics> {
        match self {
            Self::Remote(control) => control.statistics(models),
            Self::Inside(inside) => inside.statistics(models),
        }
    }

    /// Its processes, if they are on this machine and not this one.
    pub(super) fn processes(&self) -> Option<ServerProcesses> {
        match self {
            Self::Remote(control) => ServerProcesses::listening_at(control.address),
            Self::Inside(_) => None,
        }
    }
}
