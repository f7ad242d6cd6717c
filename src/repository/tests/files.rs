use super::rig::{Answer, Rig, explicit, folder};
use crate::{
    error::{Error, ErrorKind},
    repository::{OverrideFile, Overrides, VersionState},
};

/// Asks for a load of version 7 from a file of its own.
fn load_file(rig: &Rig, model: &str) -> Answer {
    let file = OverrideFile {
        path: "7/model".to_owned(),
        contents: "sent".into(),
    };
    let overrides = Overrides {
        config: Some("{}".to_owned()),
        files: vec![file],
    };
    rig.load_with(model, overrides)
}

#[test]
fn files_that_come_with_a_call_serve_until_the_next_plain_load() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    let answer = load_file(&rig, "m");
    let load = rig.begun();
    let sent = load.folder.clone();
    assert_eq!(load.version, 7);
    assert_eq!(
        std::fs::read_to_string(sent.join("7/model")).unwrap(),
        "sent"
    );
    load.end(Ok(()));
    answer.wait().unwrap();
    assert!(!rig.registry.is_ready("m", Some(1)));
    assert!(rig.registry.is_ready("m", Some(7)));
    let lease = rig.registry.resolve("m", None).unwrap();

    let answer = rig.load("m");
    let load = rig.begun();
    assert_eq!((load.version, &load.folder), (1, &rig.path("m")));
    load.end(Ok(()));
    answer.wait().unwrap();
    assert!(rig.registry.is_ready("m", Some(1)));
    assert!(sent.exists(), "a request still uses it");
    drop(lease);
    rig.eventually("the folder is removed", |_| !sent.exists());
    assert!(!rig.registry.is_ready("m", Some(7)));
    assert!(rig.path("m/1/model").exists());
}

#[test]
fn a_model_may_have_no_folder_but_the_one_that_was_sent() {
    let rig = Rig::start(explicit(), &folder(&[]));
    let answer = load_file(&rig, "new");
    let load = rig.begun();
    let sent = load.folder.clone();
    load.end(Ok(()));
    answer.wait().unwrap();
    assert_eq!(rig.rows("new")[0].1, Some(VersionState::Ready));
    rig.unload("new").unwrap();
    rig.eventually("the folder is removed", |_| !sent.exists());
    let error = rig.load("new").wait().unwrap_err();
    assert!(error.message().contains("no folder 'new'"), "{error}");
}

#[test]
fn the_files_of_a_failed_load_are_removed_and_what_served_still_does() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    let answer = load_file(&rig, "m");
    let load = rig.begun();
    let sent = load.folder.clone();
    load.end(Err(Error::unavailable("test", "bad weights")));
    let error = answer.wait().unwrap_err();
    assert!(error.message().starts_with("load failed for model 'm'"));
    rig.eventually("the folder is removed", |_| !sent.exists());
    assert!(rig.registry.is_ready("m", Some(1)));
}

#[test]
fn files_need_a_configuration_and_a_place_inside_the_model() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    for (config, path, why) in [
        (None, "1/model", "'config' must be specified"),
        (
            Some("{}"),
            "../m/1/model",
            "must stay within model directory",
        ),
    ] {
        let file = OverrideFile {
            path: path.to_owned(),
            contents: "sent".into(),
        };
        let overrides = Overrides {
            config: config.map(str::to_owned),
            files: vec![file],
        };
        let error = rig.load_with("m", overrides).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let begin = "failed to load 'm', failed to poll from model repository: ";
        assert!(error.message().starts_with(begin), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    assert!(rig.nothing_begun());
}
