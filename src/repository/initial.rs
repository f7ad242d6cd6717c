//! The models that are loaded at start, until the last of them is loaded or has failed.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::inference::ModelName;

/// A model that could not be loaded at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFailure {
    /// Its name.
    pub model: ModelName,
    /// Why, in one line.
    pub reason: String,
}

/// What was found wrong at start, once everything was tried.
pub(super) type Finished = Option<Vec<LoadFailure>>;

/// The models that are still awaited.
#[derive(Debug)]
pub(super) struct Initial {
    awaited: BTreeSet<ModelName>,
    failures: Vec<LoadFailure>,
    finished: watch::Sender<Finished>,
}

impl Initial {
    /// Tells `finished` when all is done.
    pub(super) fn new(finished: watch::Sender<Finished>) -> Self {
        Self {
            awaited: BTreeSet::new(),
            failures: Vec::new(),
            finished,
        }
    }

    /// Awaits these, and no more later.
    pub(super) fn expect<'a>(&mut self, models: impl Iterator<Item = &'a ModelName>) {
        self.awaited = models.cloned().collect();
        self.announce();
    }

    /// The model was tried, or is not worth waiting for.
    pub(super) fn done(&mut self, model: &ModelName, failure: Option<&str>) {
        if !self.awaited.remove(model) {
            return;
        }
        self.failures.extend(failure.map(|reason| LoadFailure {
            model: model.clone(),
            reason: reason.to_owned(),
        }));
        self.announce();
    }

    /// Awaits nothing more.
    pub(super) fn give_up(&mut self) {
        self.awaited.clear();
        self.announce();
    }

    fn announce(&mut self) {
        if self.awaited.is_empty() && self.finished.borrow().is_none() {
            let failures = std::mem::take(&mut self.failures);
            self.finished.send_replace(Some(failures));
        }
    }
}
