use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{collection::btree_map, prelude::*};

use super::name;
use crate::{
    error::Error,
    proto::inference as pb,
    repository::{
        VersionState, fingerprint::Fingerprint, lifecycle::Lifecycle, plan::Stamp, source::Aspired,
        table::ModelEntry,
    },
};

/// What was loaded: version and files.
type Loaded = (u64, u8);

fn aspire(versions: &BTreeMap<u64, u8>) -> Aspired {
    let stamp = |(&version, files): (&u64, &u8)| {
        let stamp = Stamp {
            config: Fingerprint::ABSENT,
            files: Fingerprint::of(files),
        };
        (version, stamp)
    };
    Aspired {
        folder: std::path::PathBuf::from("/m").into(),
        config: pb::ModelConfig::default(),
        stamps: versions.iter().map(stamp).collect(),
        present: versions.keys().copied().collect(),
    }
}

/// A life, and the table that shows it.
#[derive(Default)]
struct Shown {
    life: Lifecycle<Loaded>,
    entry: ModelEntry<Loaded>,
}

impl Shown {
    fn serving(&self) -> BTreeMap<u64, u8> {
        let rows = self.entry.versions.values();
        rows.filter_map(|row| row.model.as_deref().copied())
            .collect()
    }

    fn row(&self, version: u64) -> (VersionState, &str) {
        let row = &self.entry.versions[&version];
        (row.state, &row.reason)
    }

    /// Aspires to `versions`; the loads of those in `broken` fail. Returns the error and what is
    /// to be drained.
    fn load(
        &mut self,
        versions: &BTreeMap<u64, u8>,
        broken: &[u64],
    ) -> (Option<Error>, Vec<Loaded>) {
        let load = self.life.begin(aspire(versions), None);
        self.entry.begin(&load);
        for &version in &load {
            let serving = self.serving();
            let result = if broken.contains(&version) {
                Err(Error::internal("test", "no\nmemory"))
            } else {
                Ok(Arc::new((version, versions[&version])))
            };
            self.life.loaded(version, result);
            assert_eq!(
                self.serving(),
                serving,
                "a load changes nothing before all are there"
            );
        }
        let ending = self.life.end(&name("m")).expect("all loads ended");
        let error = match ending.result {
            Ok(swap) => {
                self.entry.swap(&swap.ready, &swap.retired, &swap.present);
                None
            }
            Err(failure) => {
                self.entry.fail(&failure.reasons);
                Some(failure.error)
            }
        };
        let drain = ending.drain.into_iter().map(|(_, model)| *model);
        (error, drain.collect())
    }
}

fn map(versions: &[(u64, u8)]) -> BTreeMap<u64, u8> {
    versions.iter().copied().collect()
}

#[test]
fn one_failed_version_keeps_all_that_was_there_before() {
    let mut shown = Shown::default();
    assert!(shown.load(&map(&[(1, 0), (2, 0)]), &[]).0.is_none());
    let (error, drained) = shown.load(&map(&[(2, 1), (3, 1), (4, 1)]), &[2, 3]);
    assert_eq!(
        error.unwrap().message(),
        "load failed for model 'm': version 2 is at UNAVAILABLE state: no memory;version 3 is at \
         UNAVAILABLE state: no memory;"
    );
    assert_eq!(drained, [(4, 1)], "what was loaded is dropped");
    assert_eq!(shown.serving(), map(&[(1, 0), (2, 0)]));
    assert_eq!(
        shown.row(2),
        (
            VersionState::Ready,
            "reload failed: no memory; still serving the version loaded before"
        )
    );
    assert_eq!(shown.row(3), (VersionState::Unavailable, "no memory"));
    assert_eq!(shown.row(4).0, VersionState::Unavailable);
    assert!(!shown.entry.is_ready());
}

#[test]
fn success_clears_what_failed_before() {
    let mut shown = Shown::default();
    shown.load(&map(&[(1, 0)]), &[]);
    shown.load(&map(&[(1, 1), (2, 1)]), &[1, 2]);
    let (error, drained) = shown.load(&map(&[(1, 2)]), &[]);
    assert!(error.is_none());
    assert_eq!(drained, [(1, 0)]);
    assert_eq!(shown.row(1), (VersionState::Ready, ""));
    assert!(
        !shown.entry.versions.contains_key(&2),
        "it has no folder any more"
    );
    assert!(shown.entry.is_ready());
}

#[test]
fn a_version_drains_until_its_last_incarnation_has() {
    let mut shown = Shown::default();
    shown.load(&map(&[(1, 0)]), &[]);
    shown.load(&map(&[(1, 1)]), &[]);
    shown.life.unload();
    shown.entry.unload();
    assert_eq!(shown.row(1).0, VersionState::Unloading);
    assert!(!shown.life.drained(1), "one of two");
    assert!(shown.life.drained(1));
    shown.entry.drained(1, true);
    assert_eq!(shown.row(1), (VersionState::Unavailable, "unloaded"));
    assert!(shown.entry.is_ready(), "it was unloaded on purpose");
}

#[test]
fn a_fault_of_the_folder_shows_on_what_serves_or_else_on_the_model() {
    let mut shown = Shown::default();
    shown.entry.fault("bad config");
    assert_eq!(shown.entry.fault.as_deref(), Some("bad config"));
    assert!(!shown.entry.is_ready());
    shown.load(&map(&[(1, 0)]), &[]);
    assert_eq!(shown.entry.fault, None);
    shown.entry.fault("bad config");
    assert_eq!(shown.entry.fault, None);
    assert_eq!(shown.row(1).0, VersionState::Ready);
    assert!(
        shown
            .row(1)
            .1
            .starts_with("reload failed: bad config; still serving")
    );
}

proptest! {
    #[test]
    fn what_serves_is_stopped_only_for_what_replaces_it(
        rounds in proptest::collection::vec(
            (btree_map(1_u64..6, 0_u8..3, 1..5), proptest::collection::vec(1_u64..6, 0..2)),
            1..8,
        )
    ) {
        let mut shown = Shown::default();
        for (aspired, broken) in rounds {
            let before = shown.serving();
            let (error, drained) = shown.load(&aspired, &broken);
            let after = shown.serving();
            if error.is_some() {
                prop_assert_eq!(&after, &before);
            } else {
                prop_assert_eq!(&after, &aspired);
            }
            let drained: BTreeSet<_> = drained.into_iter().collect();
            let serving: BTreeSet<_> = after.into_iter().collect();
            prop_assert!(drained.is_disjoint(&serving), "nothing that serves is drained");
        }
    }
}
