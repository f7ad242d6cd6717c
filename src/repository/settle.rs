//! When a model's folder has come to rest, so that a half-copied file is never loaded. Pure: told
//! of changes and of the time, says which models are at rest and when to ask again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::fingerprint::Fingerprint;
use crate::inference::ModelName;

/// A rename is whole at once; so long it waits for company (the next file of the same tool).
const RENAME_GRACE: Duration = Duration::from_millis(20);
/// How long a file that was not closed is waited for after its last sign of life.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);
/// Most paths remembered of one model.
const PATH_LIMIT: usize = 16_384;

/// A path under a model's folder; empty for the folder itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) model: ModelName,
    pub(super) path: PathBuf,
}

/// Something that happened under a model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file was made or written through a handle that is yet to be closed.
    Written(Place),
    /// A file that was open for writing was closed.
    Closed(Place),
    /// Anything else that does not happen at one stroke: a folder or link made, removed, altered.
    Altered(Place),
    /// Something was removed.
    Removed(Place),
    /// A rename; a side that lies outside the repository, or is not known yet, is `None`.
    Moved {
        from: Option<Place>,
        to: Option<Place>,
    },
}

/// Models whose wait is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// At rest.
    pub(super) settled: Vec<ModelName>,
    /// At rest unless a look at the files says otherwise: see [`Settle::scanned`].
    pub(super) unconfirmed: Vec<ModelName>,
}

/// The models that changed and have not come to rest.
#[derive(Debug)]
pub(super) struct Settle {
    window: Duration,
    models: BTreeMap<ModelName, Unsettled>,
}

#[derive(Debug)]
struct Unsettled {
    last_change: Instant,
    /// Files open for writing, and when they last showed it.
    writers: BTreeMap<PathBuf, Instant>,
    /// What was changed otherwise than by renames.
    touched: BTreeSet<PathBuf>,
    /// The files as a scan last saw them, if it was a scan that found the change.
    seen: Option<Fingerprint>,
}

impl Settle {
    /// Models are at rest when nothing changed for as long as `window`.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            models: BTreeMap::new(),
        }
    }

    /// Takes a notification in.
    pub(super) fn observe(&mut self, change: Change, now: Instant) {
        match change {
            Change::Written(place) => {
                let model = self.touch(&place, now);
                if model.writers.len() < PATH_LIMIT {
                    model.writers.insert(place.path, now);
                }
            }
            Change::Closed(place) => {
                self.touch(&place, now).writers.remove(&place.path);
            }
            Change::Altered(place) => {
                self.touch(&place, now);
            }
            Change::Removed(place) => {
                let model = self.touch(&place, now);
                model
                    .writers
                    .retain(|path, _| !path.starts_with(&place.path));
            }
            Change::Moved { from, to } => self.moved(from, to, now),
        }
    }

    /// A scan found that the model's files are not those that were loaded.
    pub(super) fn discovered(&mut self, model: &ModelName, files: Fingerprint, now: Instant) {
        if !self.is_waiting(model) {
            self.entry(model, now).seen = Some(files);
        }
    }

    /// The models whose wait is over at `now`. Those settled are forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        let window = self.window;
        self.models.retain(|name, model| {
            if model.ready_at(window) > now {
                return true;
            }
            let atomic = model.is_atomic();
            let list = if atomic {
                &mut due.settled
            } else {
                &mut due.unconfirmed
            };
            list.push(name.clone());
            !atomic
        });
        due
    }

    /// What a look at the files of a model that was due unconfirmed says: `quiet` if their times
    /// show no change within the window. Returns whether the model is at rest.
    pub(super) fn scanned(
        &mut self,
        model: &ModelName,
        files: Fingerprint,
        quiet: bool,
        now: Instant,
    ) -> bool {
        let Some(state) = self.models.get_mut(model) else {
            return true;
        };
        // What was found without notifications needs two looks: times may come from a clock that
        // is not ours.
        let settled = state.seen.map_or(quiet, |seen| seen == files);
        if settled {
            self.models.remove(model);
        } else {
            state.seen = Some(files);
            state.last_change = now;
        }
        settled
    }

    /// Whether the model changed and has not come to rest.
    pub(super) fn is_waiting(&self, model: &ModelName) -> bool {
        self.models.contains_key(model)
    }

    /// When to ask [`Settle::due`] next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let models = self.models.values();
        models.map(|model| model.ready_at(self.window)).min()
    }

    fn touch(&mut self, place: &Place, now: Instant) -> &mut Unsettled {
        let model = self.entry(&place.model, now);
        // One of them is enough to wait for the window, so some may be forgotten.
        if model.touched.len() < PATH_LIMIT {
            model.touched.insert(place.path.clone());
        }
        model
    }

    fn moved(&mut self, from: Option<Place>, to: Option<Place>, now: Instant) {
        let mut writers = Vec::new();
        if let Some(from) = &from {
            let model = self.entry(&from.model, now);
            // Only with the other side known is it certain that it is not written here any more.
            if to.is_some() {
                writers = model.take_under(&from.path);
            }
        }
        if let Some(to) = &to {
            let model = self.entry(&to.model, now);
            model.writers.extend(
                writers
                    .into_iter()
                    .map(|(path, last)| (joined(&to.path, &path), last)),
            );
        }
    }

    fn entry(&mut self, model: &ModelName, now: Instant) -> &mut Unsettled {
        let model = self
            .models
            .entry(model.clone())
            .or_insert_with(|| Unsettled {
                last_change: now,
                writers: BTreeMap::new(),
                touched: BTreeSet::new(),
                seen: None,
            });
        model.last_change = now;
        model
    }
}

impl Unsettled {
    /// Whether all that happened were renames.
    fn is_atomic(&self) -> bool {
        self.touched.is_empty() && self.writers.is_empty() && self.seen.is_none()
    }

    fn ready_at(&self, window: Duration) -> Instant {
        let quiet = if self.is_atomic() {
            RENAME_GRACE.min(window)
        } else {
            window
        };
        let closed = self.writers.values().map(|&last| last + CLOSE_PATIENCE);
        closed.fold(self.last_change + quiet, Instant::max)
    }

    /// Forgets what lies under `path`, and returns its writers with paths relative to it.
    fn take_under(&mut self, path: &Path) -> Vec<(PathBuf, Instant)> {
        self.touched.retain(|touched| !touched.starts_with(path));
        let mut taken = Vec::new();
        self.writers.retain(|writer, last| {
            let Ok(relative) = writer.strip_prefix(path) else {
                return true;
            };
            taken.push((relative.to_owned(), *last));
            false
        });
        taken
    }
}

/// `base` itself for an empty `relative`: joining that would add a slash.
fn joined(base: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(relative)
    }
}
