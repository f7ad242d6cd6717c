//! One model's rows in the registry, and how each step of its life changes them. Pure: no lock, no
//! thread; nothing is loaded or freed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::registry::{UNLOADED, VersionState};

/// What is known of one model.
#[derive(Debug)]
pub(super) struct ModelEntry<M> {
    pub(super) versions: BTreeMap<u64, VersionEntry<M>>,
    /// Why the model as a whole cannot be loaded.
    pub(super) fault: Option<String>,
}

/// What is known of one version. `model` is there exactly while the state is ready.
#[derive(Debug)]
pub(super) struct VersionEntry<M> {
    pub(super) state: VersionState,
    pub(super) reason: String,
    /// What is to be said of what serves, though it does.
    pub(super) remark: String,
    pub(super) model: Option<Arc<M>>,
}

impl<M> ModelEntry<M> {
    /// These versions are being loaded. Those that serve go on doing so.
    pub(super) fn begin(&mut self, versions: &[u64]) {
        self.fault = None;
        for &version in versions {
            let row = self.versions.entry(version).or_default();
            if row.model.is_none() {
                row.state = VersionState::Loading;
                row.reason.clear();
            }
        }
    }

    /// A load succeeded: `ready` serve from now on, `retired` no longer do, and of the others only
    /// those in `present` are worth a row.
    pub(super) fn swap(
        &mut self,
        ready: &[(u64, Arc<M>)],
        retired: &[u64],
        present: &BTreeSet<u64>,
    ) {
        self.fault = None;
        for (version, model) in ready {
            let row = VersionEntry {
                state: VersionState::Ready,
                model: Some(Arc::clone(model)),
                ..VersionEntry::default()
            };
            self.versions.insert(*version, row);
        }
        for version in retired {
            if let Some(row) = self.versions.get_mut(version) {
                row.retire();
            }
        }
        self.versions.retain(|version, row| {
            row.reason.clone_from(&row.remark);
            if row.state == VersionState::Unavailable {
                UNLOADED.clone_into(&mut row.reason);
            }
            row.state != VersionState::Unavailable || present.contains(version)
        });
    }

    /// `model` serves as a version, in the place of what stood in for it.
    pub(super) fn replace(&mut self, version: u64, model: &Arc<M>) {
        if let Some(row) = self
            .versions
            .get_mut(&version)
            .filter(|row| row.model.is_some())
        {
            row.model = Some(Arc::clone(model));
        }
    }

    /// What is to be said of what serves as a version.
    pub(super) fn remark(&mut self, version: u64, remark: String) {
        if let Some(row) = self
            .versions
            .get_mut(&version)
            .filter(|row| row.model.is_some())
        {
            row.reason.clone_from(&remark);
            row.remark = remark;
        }
    }

    /// A load failed, for these reasons; what served still does.
    pub(super) fn fail(&mut self, reasons: &BTreeMap<u64, String>) {
        for (version, reason) in reasons {
            self.versions.entry(*version).or_default().fail(reason);
        }
    }

    /// No version of the model can be loaded; what serves still does.
    pub(super) fn fault(&mut self, reason: &str) {
        let mut serving = false;
        for row in self.versions.values_mut().filter(|row| row.model.is_some()) {
            row.fail(reason);
            serving = true;
        }
        self.fault = (!serving).then(|| reason.to_owned());
    }

    /// Nothing serves any more, on purpose.
    pub(super) fn unload(&mut self) {
        self.fault = None;
        for row in self.versions.values_mut() {
            row.retire();
        }
    }

    /// The version's last request has finished. Its row stays if its folder does.
    pub(super) fn drained(&mut self, version: u64, present: bool) {
        let Some(row) = self.versions.get_mut(&version) else {
            return;
        };
        if row.state != VersionState::Unloading {
            return;
        }
        row.state = VersionState::Unavailable;
        UNLOADED.clone_into(&mut row.reason);
        if !present {
            self.versions.remove(&version);
        }
    }

    /// Whether nothing of it is loaded, being loaded or being unloaded.
    pub(super) fn is_idle(&self) -> bool {
        self.versions
            .values()
            .all(|row| row.state == VersionState::Unavailable)
    }

    /// Whether every version serves or was unloaded on purpose.
    pub(super) fn is_ready(&self) -> bool {
        self.fault.is_none()
            && self.versions.values().all(|row| {
                row.model.is_some()
                    || row.state == VersionState::Unloading
                    || row.reason == UNLOADED
            })
    }
}

impl<M> VersionEntry<M> {
    fn retire(&mut self) {
        self.reason.clear();
        self.remark.clear();
        if self.model.take().is_some() {
            self.state = VersionState::Unloading;
        } else if self.state == VersionState::Unavailable {
            self.reason.push_str(UNLOADED);
        }
    }

    fn fail(&mut self, reason: &str) {
        self.reason = if self.model.is_some() {
            format!("reload failed: {reason}; still serving the version loaded before")
        } else {
            self.state = VersionState::Unavailable;
            reason.to_owned()
        };
    }
}

impl<M> Default for ModelEntry<M> {
    fn default() -> Self {
        Self {
            versions: BTreeMap::new(),
            fault: None,
        }
    }
}

impl<M> Default for VersionEntry<M> {
    fn default() -> Self {
        Self {
            state: VersionState::Unavailable,
            reason: String::new(),
            remark: String::new(),
            model: None,
        }
    }
}

// By hand: a derive would ask for `M: Clone`.
impl<M> Clone for ModelEntry<M> {
    fn clone(&self) -> Self {
        Self {
            versions: self.versions.clone(),
            fault: self.fault.clone(),
        }
    }
}

impl<M> Clone for VersionEntry<M> {
    fn clone(&self) -> Self {
        Self {
            state: self.state,
            reason: self.reason.clone(),
            remark: self.remark.clone(),
            model: self.model.clone(),
        }
    }
}
