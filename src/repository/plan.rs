//! What to do so that the versions loaded become the versions aspired. Pure.

use std::collections::BTreeMap;

use super::fingerprint::Fingerprint;

/// What a version is loaded from. Equal stamps: loading it again would change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The model's configuration, and all else that its versions share.
    pub(super) config: Fingerprint,
    /// The version's own files.
    pub(super) files: Fingerprint,
}

/// The steps for one model. `load` comes first, and `retire` is done, and what `load` replaces is
/// stopped, only once all of `load` succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Versions to load, new ones and new incarnations of old ones, ascending.
    pub(super) load: Vec<u64>,
    /// Versions to stop that nothing replaces, ascending.
    pub(super) retire: Vec<u64>,
}

/// The steps from `live` to `aspired`.
pub(super) fn plan(aspired: &BTreeMap<u64, Stamp>, live: &BTreeMap<u64, Stamp>) -> Steps {
    let changed = |(version, stamp): (&u64, &Stamp)| live.get(version) != Some(stamp);
    Steps {
        load: aspired
            .iter()
            .filter(|&entry| changed(entry))
            .map(|(&version, _)| version)
            .collect(),
        retire: live
            .keys()
            .filter(|version| !aspired.contains_key(version))
            .copied()
            .collect(),
    }
}
