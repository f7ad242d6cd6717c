//! What is tried, what wins, what is still the same answer, and what is written.

use std::{collections::BTreeMap, fs, time::Duration};

use bytes::Bytes;

use super::{
    agree::agree,
    choose::{Objective, Sample, Spread, Trial},
    curve::{Point, advice, sizes},
    plan::{Facts, label},
    write,
};
use crate::{model_config::Edit, perf::Tensor, tensor::Datatype};

fn facts(processor_count: u16, instance_count: u16, may_add_instances: bool) -> Facts {
    Facts {
        processor_count,
        instance_count,
        may_add_instances,
        ..Facts::default()
    }
}

fn labels(edits: &[Edit]) -> Vec<String> {
    edits.iter().map(label).collect()
}

#[test]
fn threads_never_exceed_the_processors() {
    let two = labels(&facts(2, 1, true).threads());
    let due = [
        "intra_op_thread_count 1",
        "intra_op_thread_count 2",
        "instances 2",
        "instances 2, intra_op_thread_count 1",
    ];
    assert_eq!(two, due);
    assert_eq!(
        labels(&facts(2, 4, false).threads()),
        ["intra_op_thread_count 1"]
    );
    for processors in [1, 3, 16, 192] {
        let edits = facts(processors, 1, true).threads();
        assert!(edits.len() <= 12, "{processors}: {edits:?}");
        for edit in edits {
            let threads = edit.parameters.get("intra_op_thread_count").cloned();
            let threads: u16 = threads.flatten().map_or(1, |text| text.parse().unwrap());
            assert!(
                edit.instance_count.unwrap_or(1) * threads <= processors,
                "{edit:?}"
            );
        }
    }
}

#[test]
fn what_is_set_already_is_not_tried_again_and_can_be_taken_out() {
    let set = [("intra_op_thread_count", "2"), ("enable_mem_pattern", "1")];
    let facts = Facts {
        parameters: set
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        graph_level: Some(1),
        ..facts(2, 1, false)
    };
    let threads = labels(&facts.threads());
    assert_eq!(
        threads,
        ["no intra_op_thread_count", "intra_op_thread_count 1"]
    );
    let switches = labels(&facts.switches(&Edit::default()));
    let due = [
        "optimization.graph.level 0",
        "optimization.graph.level -1",
        "enable_mem_arena 0",
        "session.set_denormal_as_zero 1",
        "session.intra_op.allow_spinning 1",
        "execution_mode 1, inter_op_thread_count 2",
    ];
    assert_eq!(switches, due);
}

#[test]
fn switches_that_helped_are_tried_together() {
    let facts = facts(2, 1, false);
    let best = facts.threads().remove(0);
    let switches = facts.switches(&best);
    assert!(
        switches
            .iter()
            .all(|edit| edit.parameters.len() >= best.parameters.len())
    );
    let both = facts
        .combined(&best, &[&switches[0], &switches[2]])
        .unwrap();
    let due = "optimization.graph.level 1, enable_mem_pattern 1, intra_op_thread_count 1";
    assert_eq!(label(&both), due);
    assert_eq!(facts.combined(&best, &[&switches[0]]), None);
}

fn trial(changes: usize, rates: &[f64], p99_us: f64) -> Trial {
    let parameters = (0..changes).map(|change| (change.to_string(), Some("1".to_owned())));
    let mut trial = Trial::new(Edit {
        parameters: parameters.collect(),
        ..Edit::default()
    });
    trial.samples = rates
        .iter()
        .map(|&rate| Sample {
            rate,
            p50_us: 1e6 / rate,
            p99_us,
        })
        .collect();
    trial
}

#[test]
fn the_best_is_better_in_nearly_all_rounds_and_by_more_than_noise() {
    let base = || trial(0, &[100.0, 110.0, 90.0, 100.0, 100.0], 10.0);
    let cases: [(&str, Vec<Trial>, usize); 6] = [
        ("alone", vec![base()], 0),
        (
            "as noise",
            vec![base(), trial(1, &[102.0, 112.0, 92.0, 102.0, 102.0], 10.0)],
            0,
        ),
        (
            "now and then",
            vec![base(), trial(1, &[150.0, 150.0, 150.0, 90.0, 90.0], 10.0)],
            0,
        ),
        (
            "always, while the machine changes",
            vec![base(), trial(1, &[110.0, 121.0, 99.0, 110.0, 110.0], 10.0)],
            1,
        ),
        (
            "the simpler of two that are as good",
            vec![
                base(),
                trial(3, &[121.0, 130.0, 110.0, 120.0, 120.0], 10.0),
                trial(1, &[120.0, 130.0, 110.0, 120.0, 120.0], 10.0),
            ],
            2,
        ),
        (
            "not the one that is wrong",
            vec![
                base(),
                Trial {
                    fault: Some("wrong".to_owned()),
                    ..trial(1, &[900.0; 5], 10.0)
                },
            ],
            0,
        ),
    ];
    for (name, trials, due) in cases {
        for objective in [Objective::Throughput, Objective::Latency] {
            assert_eq!(objective.best(&trials, None), due, "{name}");
        }
    }
}

#[test]
fn a_latency_bound_counts_where_it_can_be_kept() {
    let trials = [
        trial(0, &[100.0; 5], 900.0),
        trial(1, &[200.0; 5], 2_000.0),
        trial(2, &[90.0; 5], 400.0),
    ];
    let best = |microseconds: u64| {
        let bound = Duration::from_micros(microseconds);
        Objective::Throughput.best(&trials, Some(bound))
    };
    assert_eq!(best(3_000), 1);
    assert_eq!(best(1_000), 0);
    // Slower than as it is, but the only one that is quick enough.
    assert_eq!(best(500), 2);
    // None is.
    assert_eq!(best(100), 1);
}

#[test]
fn a_spread_has_its_median_in_the_middle() {
    let spread = Spread::of([3.0, 1.0, 2.0, 10.0]);
    assert_eq!((spread.median, spread.least, spread.most), (2.5, 1.0, 10.0));
    assert_eq!(Spread::of([]), Spread::default());
}

#[test]
fn the_curve_says_which_batches_are_worth_waiting_for() {
    assert_eq!(sizes(0), [1]);
    assert_eq!(sizes(1), [1]);
    assert_eq!(sizes(12), [1, 2, 4, 8, 12]);
    assert_eq!(sizes(8), [1, 2, 4, 8]);
    let curve = |rates: &[f64]| -> Vec<Point> {
        let points = rates.iter().enumerate().map(|(index, &rate)| Point {
            batch_size: 1 << index,
            latency_us: 1.0,
            rate,
        });
        points.collect()
    };
    assert_eq!(advice(&curve(&[100.0])), None);
    let flat = advice(&curve(&[100.0, 180.0, 198.0, 200.0])).unwrap();
    assert!(flat.starts_with("batches of 4 give 99 %"), "{flat}");
    let rising = advice(&curve(&[100.0, 180.0, 300.0])).unwrap();
    assert!(rising.contains("still rise at 4 rows"), "{rising}");
}

fn tensor(datatype: Datatype, data: &[u8]) -> Vec<Vec<Tensor>> {
    vec![vec![Tensor {
        name: "OUT".to_owned(),
        datatype,
        shape: vec![1],
        data: Bytes::copy_from_slice(data),
    }]]
}

#[test]
fn answers_may_differ_by_rounding_only() {
    let single = |value: f32| tensor(Datatype::Fp32, &value.to_le_bytes());
    for (due, own, is_same) in [
        (1.0, 1.0005, true),
        (1.0, 1.002, false),
        (1000.0, 1000.5, true),
        (f32::NAN, f32::NAN, true),
        (1.0, f32::NAN, false),
        (f32::INFINITY, f32::INFINITY, true),
        (f32::INFINITY, 1.0, false),
    ] {
        let agrees = agree(&single(due), &single(own), 1e-3);
        assert_eq!(agrees.is_ok(), is_same, "{due} {own}: {agrees:?}");
    }
    let whole = |value: u8| tensor(Datatype::Uint8, &[value]);
    assert!(agree(&whole(1), &whole(1), 1e-3).is_ok());
    assert!(agree(&whole(1), &whole(2), 1e9).is_err());
    assert!(agree(&whole(1), &single(1.0), 1e9).is_err());
    assert!(agree(&whole(1), &[vec![]], 1e9).is_err());
    assert!(agree(&whole(1), &[], 1e9).is_err());
}

fn threads() -> Edit {
    let value = ("intra_op_thread_count".to_owned(), Some("2".to_owned()));
    Edit {
        parameters: BTreeMap::from([value]),
        ..Edit::default()
    }
}

#[test]
fn the_file_is_changed_at_once_and_kept_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.pbtxt");
    let text = "# mine\nname: \"m\"\n";
    fs::write(&file, text).unwrap();
    for _ in 0..2 {
        assert_eq!(write(folder.path(), &threads()).unwrap(), file);
        let after = fs::read_to_string(&file).unwrap();
        assert_eq!(after, format!("{text}{}", threads().to_pbtxt()));
    }
    let kept = fs::read_to_string(folder.path().join("config.pbtxt.before-tune"));
    assert_eq!(kept.unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_configuration_is_made_where_there_is_none_and_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &threads()).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), threads().to_pbtxt());
    fs::remove_file(&file).unwrap();

    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "name: \"m\"\n").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let error = write(folder.path(), &threads()).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    fs::remove_file(&file).unwrap();

    fs::write(folder.path().join("config.yaml"), "name: m\n").unwrap();
    let error = write(folder.path(), &threads()).unwrap_err();
    assert!(
        error.to_string().contains("config.yaml is not rewritten"),
        "{error}"
    );
    assert!(!file.exists());
}
