//! Which model versions there are, and in what state. Read on every request without a lock;
//! written by the control loop only.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::table::{ModelEntry, VersionEntry};
use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::{Lease, Model},
};

/// A version's place in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Being loaded, and not serving. A version that serves while its next incarnation is loaded
    /// is ready.
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

/// What the table holds: a loaded model version.
pub trait Loaded: Send + Sync + 'static {
    /// Keeps it loaded.
    type Lease;

    /// A lease; `None` once it is being unloaded.
    fn lease(self: &Arc<Self>) -> Option<Self::Lease>;

    /// Waits until every lease is back, then frees everything. Blocks.
    fn unload(&self);

    /// Whether another is to take its place as soon as that is made.
    fn is_stand_in(&self) -> bool {
        false
    }

    /// What the index is to say of it, though it serves; empty if nothing.
    fn remark(&self) -> String {
        String::new()
    }
}

impl Loaded for Model {
    type Lease = Lease;

    fn lease(self: &Arc<Self>) -> Option<Lease> {
        Self::lease(self)
    }

    fn unload(&self) {
        Self::unload(self);
    }

    fn is_stand_in(&self) -> bool {
        Self::is_stand_in(self)
    }

    fn remark(&self) -> String {
        Self::remark(self)
    }
}

/// Models are shared between one table and the next, so a change copies one model's rows only.
type Table<M> = HashMap<ModelName, Arc<ModelEntry<M>>>;

/// The table of model versions.
pub struct Registry<M = Model> {
    table: ArcSwap<Table<M>>,
    /// Serialises writers.
    writer: Mutex<()>,
    changed: watch::Sender<()>,
}

/// The reason that Triton gives for a version that was unloaded on purpose.
pub const UNLOADED: &str = "unloaded";

impl<M: Loaded> Registry<M> {
    /// The model, kept loaded while the lease is held. `version` `None` asks for the highest ready
    /// one.
    ///
    /// # Errors
    /// `NotFound` for an unknown model or version, `Unavailable` for a version that is not ready.
    pub fn resolve(&self, name: &str, version: Option<u64>) -> Result<M::Lease> {
        loop {
            let table = self.table.load();
            let entry = table.get(name).ok_or_else(|| not_found(name))?;
            let model = match version {
                Some(version) => serving_version(name, entry, version)?,
                None => entry
                    .versions
                    .values()
                    .rev()
                    .find_map(|row| row.model.as_ref())
                    .ok_or_else(|| unknown(format_args!("'{name}' has no available versions")))?,
            };
            // A model is closed only after it has left the table: look again.
            if let Some(lease) = model.lease() {
                return Ok(lease);
            }
        }
    }

    /// Whether that version (or any, for `None`) serves.
    #[cfg(test)]
    pub(crate) fn is_ready(&self, name: &str, version: Option<u64>) -> bool {
        self.resolve(name, version).is_ok()
    }
}

impl<M> Registry<M> {
    /// Whether every version that is known either serves or was unloaded on purpose.
    pub fn all_ready(&self) -> bool {
        self.table.load().values().all(|entry| entry.is_ready())
    }

    /// Is told of every change of the table.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The versions of `name` that serve, ascending.
    pub fn ready_versions(&self, name: &str) -> Vec<u64> {
        self.table.load().get(name).map_or_else(Vec::new, |entry| {
            serving(entry).map(|(version, _)| version).collect()
        })
    }

    /// Everything that serves, by name and version.
    pub fn ready_models(&self) -> Vec<Arc<M>> {
        let table = self.table.load();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| *name);
        entries
            .into_iter()
            .flat_map(|(_, entry)| serving(entry).map(|(_, model)| Arc::clone(model)))
            .collect()
    }

    /// The repository index, by name and version.
    pub fn index(&self, ready_only: bool) -> Vec<IndexEntry> {
        let table = self.table.load();
        let mut index = Vec::new();
        for (name, entry) in table.iter() {
            if !ready_only && (entry.versions.is_empty() || entry.fault.is_some()) {
                index.push(IndexEntry {
                    name: name.clone(),
                    version: None,
                    state: entry.fault.as_ref().map(|_| VersionState::Unavailable),
                    reason: entry.fault.clone().unwrap_or_default(),
                });
            }
            let rows = entry.versions.iter();
            index.extend(
                rows.filter(|(_, row)| !ready_only || row.model.is_some())
                    .map(|(&version, row)| IndexEntry {
                        name: name.clone(),
                        version: Some(version),
                        state: Some(row.state),
                        reason: row.reason.clone(),
                    }),
            );
        }
        index.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        index
    }

    /// Replaces the table by one in which `change` was made to `name`'s rows.
    pub(super) fn update(&self, name: &ModelName, change: impl FnOnce(&mut ModelEntry<M>)) {
        self.replace(|table| change(Arc::make_mut(table.entry(name.clone()).or_default())));
    }

    /// Makes `names` known. If told to, forgets models that are neither among them nor loaded.
    pub(super) fn mention<'a>(&self, names: impl Iterator<Item = &'a ModelName>, forget: bool) {
        let names: BTreeSet<_> = names.collect();
        let stale = |name: &ModelName, entry: &ModelEntry<M>| {
            forget && entry.is_idle() && !names.contains(name)
        };
        let table = self.table.load();
        let all_known = names.iter().all(|&name| table.contains_key(name));
        if all_known && !table.iter().any(|(name, entry)| stale(name, entry)) {
            return;
        }
        self.replace(|table| {
            table.retain(|name, entry| !stale(name, entry));
            for &name in &names {
                table.entry(name.clone()).or_default();
            }
        });
    }

    /// Whether there is such a model.
    pub(super) fn knows(&self, name: &ModelName) -> bool {
        self.table.load().contains_key(name)
    }

    /// Forgets `name`.
    pub(super) fn remove(&self, name: &ModelName) {
        self.replace(|table| table.remove(name));
    }

    fn replace<R>(&self, change: impl FnOnce(&mut Table<M>) -> R) -> R {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let result = change(&mut table);
        self.table.store(Arc::new(table));
        self.changed.send_replace(());
        result
    }
}

impl<M> Default for Registry<M> {
    fn default() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::new()),
            writer: Mutex::default(),
            changed: watch::Sender::default(),
        }
    }
}

impl<M: fmt::Debug> fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("table", &*self.table.load())
            .finish_non_exhaustive()
    }
}

fn serving<M>(entry: &ModelEntry<M>) -> impl Iterator<Item = (u64, &Arc<M>)> {
    let rows = entry.versions.iter();
    rows.filter_map(|(&version, row)| Some((version, row.model.as_ref()?)))
}

fn serving_version<'a, M>(
    name: &str,
    entry: &'a ModelEntry<M>,
    version: u64,
) -> Result<&'a Arc<M>> {
    let row: &VersionEntry<M> = entry
        .versions
        .get(&version)
        .ok_or_else(|| unknown(format_args!("'{name}' version {version} is not found")))?;
    row.model.as_ref().ok_or_else(|| {
        Error::unavailable(
            "model_not_ready",
            format!("Request for unknown model: '{name}' version {version} is not at ready state"),
        )
    })
}

/// A name that nothing has may be of any length.
fn not_found(name: &str) -> Error {
    let shown: String = name.chars().take(ModelName::MAX_BYTE_SIZE).collect();
    unknown(format_args!("'{shown}' is not found"))
}

fn unknown(what: fmt::Arguments<'_>) -> Error {
    Error::not_found(
        "model_not_found",
        format!("Request for unknown model: {what}"),
    )
}
