use std::{fs, time::Instant};

use tempfile::TempDir;

use super::*;
use crate::{
    inference::{Probe, Stage},
    tensor::{Datatype, Tensor},
};

fn started(config: Config) -> (Tracing, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        file: Some(folder.path().join("trace.json")),
        rate: 1,
        ..config
    };
    (Tracing::start(&config).unwrap(), folder)
}

fn timestamps() -> Config {
    Config {
        levels: vec![Level::Timestamps],
        ..Config::default()
    }
}

fn request(tracing: &Tracing, model: &str) -> bool {
    let Some(trace) = tracing.sample(model) else {
        return false;
    };
    trace.at(Stage::RequestStart, Instant::now());
    trace.identify(model, 1, "");
    true
}

fn read(folder: &TempDir, name: &str) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(folder.path().join(name)).unwrap()).unwrap()
}

fn off() -> Change {
    Change {
        levels: Edit::Set(Levels::default()),
        ..Change::default()
    }
}

#[test]
fn nothing_is_traced_and_no_file_made_until_somebody_asks_for_it() {
    let (tracing, folder) = started(Config::default());
    assert!(!tracing.is_on() && !request(&tracing, "m"));
    let on = Change {
        levels: Edit::Set(Levels {
            timestamps: true,
            tensors: false,
        }),
        ..Change::default()
    };
    tracing.change("m", &on).unwrap();
    assert!(tracing.is_on());
    assert!(request(&tracing, "m") && !request(&tracing, "n"));
    tracing.change("m", &off()).unwrap();
    assert!(!tracing.is_on());
    tracing.stop();
    let objects = read(&folder, "trace.json");
    assert_eq!(objects[0]["model_name"], "m");
    assert_eq!(objects[1]["timestamps"][0]["name"], "REQUEST_START");
}

#[test]
fn what_never_came_to_a_model_is_not_written() {
    let (tracing, folder) = started(timestamps());
    drop(tracing.sample("m"));
    tracing.stop();
    assert!(!folder.path().join("trace.json").exists());
}

#[test]
fn the_number_that_is_left_is_shown_and_a_change_begins_a_new_file() {
    let (tracing, folder) = started(timestamps());
    let three = Change {
        count: Edit::Set(Some(3)),
        ..Change::default()
    };
    tracing.change("", &three).unwrap();
    assert!(request(&tracing, "m"));
    assert_eq!(tracing.values("").count, Some(2));
    let often = Change {
        log_frequency: Edit::Set(1),
        ..Change::default()
    };
    tracing.change("", &often).unwrap();
    assert!(request(&tracing, "m") && request(&tracing, "m"));
    assert!(!request(&tracing, "m"), "three were asked for");
    assert_eq!(tracing.values("").count, Some(0));
    tracing.stop();
    for name in ["trace.json.0", "trace.json.1", "trace.json.2"] {
        assert_eq!(read(&folder, name).as_array().unwrap().len(), 2, "{name}");
    }
}

#[test]
fn settings_under_which_nothing_could_be_traced_change_nothing() {
    let (tracing, _folder) = started(timestamps());
    let zero = Change {
        rate: Edit::Set(0),
        ..Change::default()
    };
    let error = tracing.change("", &zero).unwrap_err();
    assert_eq!(
        error.message(),
        "Attempting to set invalid trace setting :sample rate must be non-zero"
    );
    assert_eq!(tracing.values("").rate, 1);
    let without_file = Tracing::default();
    let on = Change {
        levels: Edit::Set(Levels {
            timestamps: true,
            tensors: true,
        }),
        ..Change::default()
    };
    let error = without_file.change("m", &on).unwrap_err();
    assert!(error.message().ends_with("trace file name is not given"));
    assert!(without_file.change("", &off()).is_ok());
    assert!(Tracing::start(&timestamps()).is_err());
}

#[test]
fn tensors_are_kept_up_to_the_limit() {
    let config = Config {
        levels: vec![Level::Tensors],
        tensor_byte_limit: 6,
        ..Config::default()
    };
    let (tracing, folder) = started(config);
    let tensor = Tensor {
        datatype: Datatype::Uint8,
        shape: [4].as_slice().into(),
        data: vec![1, 2, 3, 4].into(),
    };
    let trace = tracing.sample("m").unwrap();
    trace.identify("m", 1, "r");
    trace.at(Stage::RequestStart, Instant::now());
    trace.input("IN", &tensor);
    trace.output("OUT", &tensor);
    drop(trace);
    tracing.stop();
    let objects = read(&folder, "trace.json");
    assert_eq!(objects.as_array().unwrap().len(), 3, "no timestamps");
    assert_eq!(objects[1]["activity"], "TENSOR_QUEUE_INPUT");
    assert_eq!(objects[1]["tensor"]["data"], "1,2,3,4");
    assert_eq!(objects[2]["activity"], "TENSOR_BACKEND_OUTPUT");
    assert_eq!(objects[2]["tensor"]["data"], "1,2");
    assert_eq!(objects[2]["tensor"]["truncated"], true);
}
