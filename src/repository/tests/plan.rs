use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::btree_map, prelude::*};

use crate::model_config::VersionPolicy;
use crate::repository::{
    fingerprint::Fingerprint,
    plan::{Stamp, Steps, plan},
    source::{eligible, version_number},
};

fn stamp(config: u8, files: u8) -> Stamp {
    Stamp {
        config: Fingerprint::of(config),
        files: Fingerprint::of(files),
    }
}

type Stamps = [(u64, u8, u8)];

fn stamps(list: &Stamps) -> BTreeMap<u64, Stamp> {
    list.iter()
        .map(|&(version, config, files)| (version, stamp(config, files)))
        .collect()
}

#[test]
fn loads_what_differs_and_retires_what_is_not_aspired() {
    // (what, aspired, live, load, retire); versions as (number, configuration, files)
    type Case<'a> = (&'a str, &'a Stamps, &'a Stamps, &'a [u64], &'a [u64]);
    let cases: [Case<'_>; 7] = [
        ("first load", &[(1, 0, 0), (2, 0, 0)], &[], &[1, 2], &[]),
        ("nothing changed", &[(1, 0, 0)], &[(1, 0, 0)], &[], &[]),
        (
            "one version's files",
            &[(1, 0, 0), (2, 0, 9)],
            &[(1, 0, 0), (2, 0, 0)],
            &[2],
            &[],
        ),
        (
            "the configuration",
            &[(1, 9, 0), (2, 9, 0)],
            &[(1, 0, 0), (2, 0, 0)],
            &[1, 2],
            &[],
        ),
        (
            "a version added",
            &[(1, 0, 0), (2, 0, 0)],
            &[(1, 0, 0)],
            &[2],
            &[],
        ),
        (
            "a version removed",
            &[(2, 0, 0)],
            &[(1, 0, 0), (2, 0, 0)],
            &[],
            &[1],
        ),
        ("latest moves on", &[(2, 0, 0)], &[(1, 0, 0)], &[2], &[1]),
    ];
    for (what, aspired, live, load, retire) in cases {
        let expected = Steps {
            load: load.to_vec(),
            retire: retire.to_vec(),
        };
        assert_eq!(plan(&stamps(aspired), &stamps(live)), expected, "{what}");
    }
}

#[test]
fn the_policy_picks_among_the_versions_present() {
    let present = BTreeSet::from([1, 3, 10]);
    let cases = [
        (VersionPolicy::All, vec![1, 3, 10]),
        (VersionPolicy::Latest(1), vec![10]),
        (VersionPolicy::Latest(2), vec![3, 10]),
        (VersionPolicy::Latest(9), vec![1, 3, 10]),
        (VersionPolicy::Specific(vec![3, 4]), vec![3]),
        (VersionPolicy::Specific(vec![4]), vec![]),
    ];
    for (policy, expected) in cases {
        let picked: Vec<_> = eligible(&policy, &present).into_iter().collect();
        assert_eq!(picked, expected, "{policy:?}");
    }
}

#[test]
fn version_folders_are_numbers_from_one_without_leading_zeros() {
    for (text, expected) in [
        ("1", Some(1)),
        ("20240101", Some(20_240_101)),
        ("9223372036854775807", Some(u64::MAX >> 1)),
        ("9223372036854775808", None),
        ("18446744073709551616", None),
        ("0", None),
        ("01", None),
        ("", None),
        ("+1", None),
        ("-1", None),
        ("1.0", None),
        ("١", None),
    ] {
        assert_eq!(version_number(text), expected, "{text:?}");
    }
}

fn any_stamps() -> impl Strategy<Value = BTreeMap<u64, Stamp>> {
    btree_map(1_u64..8, (0_u8..2, 0_u8..3), 0..6).prop_map(|list| {
        list.into_iter()
            .map(|(version, (config, files))| (version, stamp(config, files)))
            .collect()
    })
}

proptest! {
    #[test]
    fn the_steps_lead_from_live_to_aspired(aspired in any_stamps(), live in any_stamps()) {
        let steps = plan(&aspired, &live);
        let mut reached = live.clone();
        for version in &steps.load {
            reached.insert(*version, aspired[version]);
        }
        for version in &steps.retire {
            prop_assert!(!steps.load.contains(version), "replaced ones are not retired");
            prop_assert!(reached.remove(version).is_some());
        }
        prop_assert_eq!(&reached, &aspired);
        prop_assert_eq!(plan(&aspired, &reached), Steps::default());
    }
}
