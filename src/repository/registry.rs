//! Which model versions there are, and in what state. Read on every request without a lock;
//! written by the control loop only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::{Lease, Model},
};

/// A version's place in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Being loaded; an older incarnation may still serve.
    Loading,
    /// Serving.
    Ready,
    /// Taking no more requests, finishing those that it has.
    Unloading,
    /// Not loaded: failed, or unloaded.
    Unavailable,
}

impl VersionState {
    /// The protocol's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "LOADING",
            Self::Ready => "READY",
            Self::Unloading => "UNLOADING",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// One row of the repository index. Models that were never loaded have no version and no state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IndexEntry {
    pub name: ModelName,
    pub version: Option<u64>,
    pub state: Option<VersionState>,
    pub reason: String,
}

#[derive(Clone, Debug)]
struct VersionEntry {
    state: VersionState,
    reason: String,
    /// What serves. Present while ready, and during a reload of the same version.
    model: Option<Arc<Model>>,
}

/// Versions of one model.
type Versions = BTreeMap<u64, VersionEntry>;
type Table = HashMap<ModelName, Versions>;

/// The table of model versions.
#[derive(Debug, Default)]
pub struct Registry {
    table: ArcSwap<Table>,
    /// Serialises writers.
    writer: Mutex<()>,
}

/// The reason that Triton gives for a version that was unloaded on purpose.
pub const UNLOADED: &str = "unloaded";

impl Registry {
    /// The model, kept loaded while the lease is held. `version` `None` asks for the highest ready
    /// one.
    ///
    /// # Errors
    /// `NotFound` for an unknown model or version, `Unavailable` for a version that is not ready.
    pub fn resolve(&self, name: &str, version: Option<u64>) -> Result<Lease> {
        loop {
            let table = self.table.load();
            let versions = table
                .get(name)
                .ok_or_else(|| unknown(format_args!("'{name}' is not found")))?;
            let model = match version {
                Some(version) => serving_version(name, versions, version)?,
                None => versions
                    .values()
                    .rev()
                    .find_map(|entry| entry.model.as_ref())
                    .ok_or_else(|| unknown(format_args!("'{name}' has no available versions")))?,
            };
            // A model is closed only after it has left the table: look again.
            if let Some(lease) = model.lease() {
                return Ok(lease);
            }
        }
    }

    /// Whether that version (or any, for `None`) serves.
    pub fn is_ready(&self, name: &str, version: Option<u64>) -> bool {
        self.resolve(name, version).is_ok()
    }

    /// Whether every version that is known either serves or was unloaded on purpose.
    pub fn all_ready(&self) -> bool {
        self.table
            .load()
            .values()
            .flat_map(BTreeMap::values)
            .all(|entry| {
                entry.model.is_some()
                    || entry.state == VersionState::Unloading
                    || entry.reason == UNLOADED
            })
    }

    /// The versions of `name` that serve, ascending.
    pub fn ready_versions(&self, name: &str) -> Vec<u64> {
        self.table
            .load()
            .get(name)
            .map_or_else(Vec::new, |versions| {
                versions
                    .iter()
                    .filter(|(_, entry)| entry.model.is_some())
                    .map(|(&version, _)| version)
                    .collect()
            })
    }

    /// Everything that serves, by name and version.
    pub fn ready_models(&self) -> Vec<Arc<Model>> {
        let table = self.table.load();
        let mut models: Vec<_> = table
            .values()
            .flat_map(BTreeMap::values)
            .filter_map(|entry| entry.model.clone())
            .collect();
        models.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        models
    }

    /// The repository index, by name and version.
    pub fn index(&self, ready_only: bool) -> Vec<IndexEntry> {
        let table = self.table.load();
        let mut index = Vec::new();
        for (name, versions) in table.iter() {
            if versions.is_empty() && !ready_only {
                index.push(IndexEntry {
                    name: name.clone(),
                    version: None,
                    state: None,
                    reason: String::new(),
                });
            }
            index.extend(
                versions
                    .iter()
                    .filter(|(_, entry)| !ready_only || entry.model.is_some())
                    .map(|(&version, entry)| IndexEntry {
                        name: name.clone(),
                        version: Some(version),
                        state: Some(entry.state),
                        reason: entry.reason.clone(),
                    }),
            );
        }
        index.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        index
    }

    /// Replaces the table by what `change` makes of a copy.
    fn update<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let result = change(&mut table);
        self.table.store(Arc::new(table));
        result
    }
}

fn serving_version<'a>(name: &str, versions: &'a Versions, version: u64) -> Result<&'a Arc<Model>> {
    let entry = versions
        .get(&version)
        .ok_or_else(|| unknown(format_args!("'{name}' version {version} is not found")))?;
    entry.model.as_ref().ok_or_else(|| {
        Error::unavailable(
            "model_not_ready",
            format!("Request for unknown model: '{name}' version {version} is not at ready state"),
        )
    })
}

fn unknown(what: std::fmt::Arguments<'_>) -> Error {
    Error::not_found(
        "model_not_found",
        format!("Request for unknown model: {what}"),
    )
}
