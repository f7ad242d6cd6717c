use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::name;
use crate::{
    error::ErrorKind,
    proto::inference as pb,
    repository::{
        Config, ControlMode,
        plan::{Steps, plan},
        source::{Aspired, Override, Source},
    },
};

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn source(folders: &[&TempDir]) -> Source {
    Source::new(&Config {
        repositories: folders.iter().map(|folder| folder.path().into()).collect(),
        ..Config::default()
    })
    .unwrap()
}

fn aspired(source: &Source) -> Result<Aspired, String> {
    source.model(&name("m")).unwrap().aspire(&name("m"), None)
}

/// What `change` makes of model `m` with version 7 gives these steps.
fn steps_after(change: impl FnOnce(&Path)) -> Steps {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m");
    write(model.join("7/model.onnx"), "weights");
    write(model.join("labels.txt"), "cat");
    let source = source(&[&folder]);
    let before = aspired(&source).unwrap();
    change(&model);
    plan(&aspired(&source).unwrap().stamps, &before.stamps)
}

fn steps(load: &[u64], retire: &[u64]) -> Steps {
    Steps {
        load: load.to_vec(),
        retire: retire.to_vec(),
    }
}

#[test]
fn a_missing_repository_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let config = Config {
        repositories: vec![missing.clone()],
        ..Config::default()
    };
    let error = Source::new(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.message().contains(missing.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn lists_folders_that_can_be_models_and_says_what_it_passes_over() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/1/model.onnx"), "");
    write(folder.path().join("README"), "");
    write(folder.path().join(".git/HEAD"), "");
    write(folder.path().join("bad\\name/1/model.onnx"), "");
    std::os::unix::fs::symlink(folder.path().join("m"), folder.path().join("link")).unwrap();
    let listing = source(&[&folder]).list();
    let names: Vec<_> = listing.models.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["link", "m"]);
    assert!(listing.complete);
    assert_eq!(listing.warnings.len(), 1, "{:?}", listing.warnings);
    assert!(
        listing.warnings[0].contains("name"),
        "{:?}",
        listing.warnings
    );
}

#[test]
fn a_repository_that_cannot_be_read_says_nothing_about_its_models() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/1/model.onnx"), "");
    let source = source(&[&folder]);
    folder.close().unwrap();
    assert!(!source.list().complete);
    let found = source.model(&name("m")).expect("not known to be gone");
    assert!(
        found
            .aspire(&name("m"), None)
            .unwrap_err()
            .contains("cannot read")
    );
}

#[test]
fn the_highest_version_is_aspired_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1", "9", "10", "010", "x"] {
        write(folder.path().join("m").join(version).join("model.onnx"), "");
    }
    let source = source(&[&folder]);
    let found = source.model(&name("m")).unwrap();
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    let aspired = found.aspire(&name("m"), None).unwrap();
    assert_eq!(aspired.present, BTreeSet::from([1, 9, 10]));
    assert_eq!(aspired.stamps.keys().copied().collect::<Vec<_>>(), [10]);
    assert_eq!(*aspired.folder, *folder.path().join("m"));
}

#[test]
fn a_model_without_versions_is_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/warmup/1"), "");
    assert_eq!(
        aspired(&source(&[&folder])).unwrap_err(),
        "at least one version must be available under the version policy of model 'm'"
    );
}

#[test]
fn a_name_in_two_repositories_is_at_fault() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        write(folder.path().join("m/1/model.onnx"), "");
    }
    let source = source(&[&folders[0], &folders[1]]);
    assert_eq!(
        aspired(&source).unwrap_err(),
        "model appears in two or more repositories"
    );
    fs::remove_dir_all(folders[0].path().join("m")).unwrap();
    assert_eq!(
        *aspired(&source).unwrap().folder,
        folders[1].path().join("m")
    );
}

#[test]
fn only_what_a_version_is_loaded_from_makes_it_load_again() {
    type Change = fn(&Path);
    let cases: [(&str, Change, Steps); 9] = [
        ("nothing", |_| {}, steps(&[], &[])),
        (
            "its file",
            |m| write(m.join("7/model.onnx"), "WEIGHTS!"),
            steps(&[7], &[]),
        ),
        (
            "a file deep in it",
            |m| write(m.join("7/a/b/c"), ""),
            steps(&[7], &[]),
        ),
        (
            "labels",
            |m| write(m.join("labels.txt"), "catdog"),
            steps(&[7], &[]),
        ),
        (
            "warmup data",
            |m| write(m.join("warmup/x"), ""),
            steps(&[7], &[]),
        ),
        (
            "a version of no interest",
            |m| write(m.join("6/model.onnx"), ""),
            steps(&[], &[]),
        ),
        (
            "a folder being filled",
            |m| write(m.join("8.tmp/model.onnx"), ""),
            steps(&[], &[]),
        ),
        (
            "a hidden file",
            |m| write(m.join("7/.lock"), ""),
            steps(&[], &[]),
        ),
        (
            "a newer version",
            |m| write(m.join("8/model.onnx"), ""),
            steps(&[8], &[7]),
        ),
    ];
    for (what, change, expected) in cases {
        assert_eq!(steps_after(change), expected, "{what}");
    }
}

#[test]
fn a_file_replaced_by_one_of_equal_size_and_time_is_a_change() {
    let replace = |model: &Path| {
        let (old, new) = (model.join("7/model.onnx"), model.join("new"));
        let time = fs::metadata(&old).unwrap().modified().unwrap();
        write(&new, "WEIGHTS");
        let file = fs::File::options().write(true).open(&new).unwrap();
        file.set_modified(time).unwrap();
        fs::rename(&new, &old).unwrap();
    };
    assert_eq!(steps_after(replace), steps(&[7], &[]));
}

#[test]
fn a_circle_of_links_is_at_fault_and_not_followed_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/1/model.onnx"), "");
    for link in ["a", "b"] {
        let link = folder.path().join("m/1").join(link);
        std::os::unix::fs::symlink(folder.path().join("m/1"), link).unwrap();
    }
    assert!(aspired(&source(&[&folder])).is_err());
}

#[test]
fn every_override_is_a_change_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/1/model.onnx"), "");
    let source = source(&[&folder]);
    let overridden = |serial| {
        let config = pb::ModelConfig::default();
        let found = source.model(&name("m")).unwrap();
        let instead = Some(Override { config, serial });
        found.aspire(&name("m"), instead).unwrap().stamps
    };
    let plain = aspired(&source).unwrap().stamps;
    let (first, second) = (overridden(1), overridden(2));
    for (to, from) in [(&first, &plain), (&second, &first), (&plain, &second)] {
        assert_eq!(plan(to, from), steps(&[1], &[]));
    }
}

#[test]
fn files_just_written_are_not_quiet() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("m/1/model.onnx"), "");
    let found = source(&[&folder]).model(&name("m")).unwrap();
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    assert!(!found.is_quiet(hour, now));
    assert!(found.is_quiet(hour, now + 2 * hour));
    assert!(
        !found.is_quiet(hour, now - 2 * hour),
        "the clock may be behind"
    );
}

#[test]
fn settings_are_checked_before_anything_starts() {
    let good = Config {
        repositories: vec!["/models".into()],
        ..Config::default()
    };
    assert!(good.check().is_ok());
    let explicit = |names: &[&str]| Config {
        control_mode: ControlMode::Explicit,
        load_models: names.iter().map(|&name| name.to_owned()).collect(),
        ..good.clone()
    };
    assert!(explicit(&["a", "b"]).check().is_ok());
    assert!(explicit(&["*"]).check().is_ok());
    for bad in [
        Config::default(),
        explicit(&["*", "a"]),
        explicit(&["../a"]),
        Config {
            load_thread_count: 0,
            ..good.clone()
        },
        Config {
            poll_interval: Duration::ZERO,
            ..good.clone()
        },
        Config {
            load_models: vec!["a".to_owned()],
            ..good.clone()
        },
    ] {
        let error = bad.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
    }
}

#[test]
fn settings_are_written_in_seconds() {
    let text = r#"{"control_mode": "poll", "poll_interval_seconds": 2.5}"#;
    let config: Config = serde_json::from_str(text).unwrap();
    assert_eq!(config.poll_interval, Duration::from_millis(2500));
    assert_eq!(config.settle, Duration::from_millis(500));
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    assert!(serde_json::from_str::<Config>(r#"{"settle_seconds": -1}"#).is_err());
}
