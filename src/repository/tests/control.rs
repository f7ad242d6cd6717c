use std::{fs, io::Write, sync::Arc, time::Duration};

use super::{
    name,
    rig::{Rig, explicit, folder, poll, write},
};
use crate::{
    error::{Error, ErrorKind},
    repository::{Config, Overrides, VersionState},
};

fn broken(reason: &str) -> Error {
    Error::unavailable("test", reason)
}

fn row(state: VersionState, reason: &str) -> Vec<(Option<u64>, Option<VersionState>, String)> {
    vec![(Some(1), Some(state), reason.to_owned())]
}

#[test]
fn the_doors_open_once_every_model_was_tried() {
    let folder = folder(&["bad", "good"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let rig = Rig::start(Config::default(), &folder);
    for _ in 0..2 {
        let load = rig.begun();
        let bad = load.model == "bad";
        load.end(if bad {
            Err(broken("no engine"))
        } else {
            Ok(())
        });
    }
    let mut failures = rig.initial_failures();
    failures.sort_by(|a, b| a.model.cmp(&b.model));
    let models: Vec<_> = failures.iter().map(|it| it.model.as_str()).collect();
    assert_eq!(models, ["bad", "empty"]);
    assert!(failures[0].reason.contains("no engine"), "{failures:?}");
    assert!(
        failures[1].reason.contains("version policy"),
        "{failures:?}"
    );
    assert_eq!(rig.serving("good"), Some(1));
    assert_eq!(rig.rows("bad"), row(VersionState::Unavailable, "no engine"));
    let empty = rig.rows("empty");
    assert_eq!(
        (empty[0].0, empty[0].1),
        (None, Some(VersionState::Unavailable))
    );
    assert!(!rig.registry.all_ready());
}

#[test]
fn only_mode_explicit_takes_commands() {
    for config in [Config::default(), poll()] {
        let rig = Rig::start(config, &folder(&[]));
        for error in [rig.load("m").wait(), rig.unload("m")] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert_eq!(
                error.message(),
                "explicit model load / unload is not allowed if polling is enabled"
            );
        }
    }
}

#[test]
fn mode_explicit_loads_at_start_what_it_is_told() {
    let config = Config {
        load_models: vec!["a".to_owned(), "missing".to_owned()],
        ..explicit()
    };
    let rig = Rig::start(config, &folder(&["a", "b"]));
    rig.begun().end(Ok(()));
    let failures = rig.initial_failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].model, name("missing"));
    assert!(rig.registry.is_ready("a", Some(1)));
    assert_eq!(rig.rows("b"), [(None, None, String::new())], "never loaded");
    assert!(rig.rows("missing").is_empty());
    assert!(rig.nothing_begun());
}

#[test]
fn a_load_of_unchanged_files_is_no_load() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    rig.load("m").wait().unwrap();
    assert!(rig.nothing_begun());
    assert_eq!(rig.serving("m"), Some(1));
}

#[test]
fn the_old_incarnation_serves_until_the_new_one_does_and_lives_while_leased() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    let lease = rig.registry.resolve("m", None).unwrap();
    write(&rig.path("m/1/model"), "changed");
    let reload = rig.load("m");
    let load = rig.begun();
    assert_eq!(rig.serving("m"), Some(1));
    assert_eq!(rig.rows("m"), row(VersionState::Ready, ""));
    load.end(Ok(()));
    reload.wait().unwrap();
    assert_eq!(rig.serving("m"), Some(2));
    assert!(rig.nothing_unloaded());
    drop(lease);
    assert_eq!(rig.unloaded(), 1);
    assert_eq!(rig.rows("m"), row(VersionState::Ready, ""));
}

#[test]
fn a_failed_reload_keeps_the_old_incarnation() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    write(&rig.path("m/1/model"), "broken");
    let reload = rig.load("m");
    rig.begun().end(Err(broken("bad weights")));
    let error = reload.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "load failed for model 'm': version 1 is at UNAVAILABLE state: bad weights;"
    );
    assert_eq!(rig.serving("m"), Some(1));
    assert!(rig.registry.all_ready());
    let reason = "reload failed: bad weights; still serving the version loaded before";
    assert_eq!(rig.rows("m"), row(VersionState::Ready, reason));
    let again = rig.load("m");
    rig.begun().end(Ok(()));
    again.wait().unwrap();
    assert_eq!(rig.rows("m"), row(VersionState::Ready, ""));
}

#[test]
fn a_load_that_panics_is_a_load_that_failed() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    let answer = rig.load("m");
    rig.begun().panic();
    assert!(answer.wait().unwrap_err().message().contains("panicked"));
    rig.load_well("m");
    assert_eq!(rig.serving("m"), Some(1));
}

#[test]
fn a_model_without_a_folder_cannot_be_loaded_and_leaves_no_trace() {
    let rig = Rig::start(explicit(), &folder(&[]));
    let error = rig.load("m").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "failed to load 'm', failed to poll from model repository: no folder 'm' in any model \
         repository"
    );
    rig.unload("m").unwrap();
    assert!(rig.registry.index(false).is_empty());
}

#[test]
fn an_unload_answers_before_the_last_request_has_finished() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    let lease = rig.registry.resolve("m", Some(1)).unwrap();
    rig.unload("m").unwrap();
    assert_eq!(rig.rows("m"), row(VersionState::Unloading, ""));
    let by_version = rig.registry.resolve("m", Some(1)).err().unwrap();
    assert_eq!(by_version.kind(), ErrorKind::Unavailable);
    let by_name = rig.registry.resolve("m", None).err().unwrap();
    assert_eq!(by_name.kind(), ErrorKind::NotFound);
    drop(lease);
    assert_eq!(rig.unloaded(), 1);
    rig.eventually("the row says unloaded", |rig| {
        rig.rows("m") == row(VersionState::Unavailable, "unloaded")
    });
    rig.load_well("m");
    assert_eq!(rig.serving("m"), Some(2));
}

#[test]
fn a_drain_that_waits_holds_up_no_load() {
    let rig = Rig::start(
        Config {
            load_thread_count: 1,
            ..explicit()
        },
        &folder(&["a", "b"]),
    );
    rig.load_well("a");
    let lease = rig.registry.resolve("a", None).unwrap();
    rig.unload("a").unwrap();
    rig.load_well("b");
    rig.load_well("a");
    assert_eq!(lease.serial, 1);
    assert_eq!(rig.serving("a"), Some(3));
    assert!(rig.nothing_unloaded());
}

#[test]
fn commands_on_one_model_are_done_in_order_and_others_go_on() {
    let rig = Arc::new(Rig::start(explicit(), &folder(&["a", "b"])));
    let load = rig.load("a");
    let begun = rig.begun();
    let unload = {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || rig.unload("a"))
    };
    rig.load_well("b");
    assert_eq!(rig.rows("a"), row(VersionState::Loading, ""));
    begun.end(Ok(()));
    load.wait().unwrap();
    unload.join().unwrap().unwrap();
    assert_eq!(rig.unloaded(), 2);
    assert_eq!(rig.serving("a"), None);
    assert_eq!(rig.serving("b"), Some(1));
}

#[test]
fn no_more_loads_run_at_once_than_allowed() {
    let config = Config {
        load_thread_count: 2,
        ..Config::default()
    };
    let rig = Rig::start(config, &folder(&["a", "b", "c", "d", "e"]));
    let mut begun = vec![rig.begun(), rig.begun()];
    for _ in 0..3 {
        assert!(rig.nothing_begun());
        begun.remove(0).end(Ok(()));
        begun.push(rig.begun());
    }
    begun.into_iter().for_each(|load| load.end(Ok(())));
    assert!(rig.initial_failures().is_empty());
    assert_eq!(rig.most_loads_at_once(), 2);
}

#[test]
fn an_override_always_loads_and_so_does_the_plain_load_after_it() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    for serial in 2..4 {
        let overrides = Overrides {
            config: Some("{}".to_owned()),
            files: Vec::new(),
        };
        let answer = rig.load_with("m", overrides);
        rig.begun().end(Ok(()));
        answer.wait().unwrap();
        assert_eq!(rig.serving("m"), Some(serial));
    }
    rig.load_well("m");
    assert_eq!(rig.serving("m"), Some(4));
    rig.load("m").wait().unwrap();
    assert!(rig.nothing_begun());
}

#[test]
fn an_override_longer_than_the_limit_is_refused_unread() {
    let config = Config {
        config_byte_limit: 10,
        ..explicit()
    };
    let rig = Rig::start(config, &folder(&["m"]));
    let overrides = Overrides {
        config: Some(" ".repeat(11)),
        files: Vec::new(),
    };
    let error = rig.load_with("m", overrides).wait().unwrap_err();
    assert!(error.message().contains("the limit is 10"), "{error}");
    assert!(rig.nothing_begun());
}

#[test]
fn mode_poll_follows_renames_and_removals() {
    let rig = Rig::start(poll(), &folder(&["m"]));
    rig.begun().end(Ok(()));
    assert!(rig.initial_failures().is_empty() && rig.serving("m") == Some(1));
    write(&rig.path(".staging/2/model"), "");
    fs::rename(rig.path(".staging/2"), rig.path("m/2")).unwrap();
    let load = rig.begun();
    assert_eq!((load.model.as_str(), load.version), ("m", 2));
    assert_eq!(
        rig.serving("m"),
        Some(1),
        "the old version serves meanwhile"
    );
    load.end(Ok(()));
    assert_eq!(rig.unloaded(), 1);
    assert_eq!(rig.registry.ready_versions("m"), [2]);
    fs::rename(rig.path("m"), rig.path(".staging/m")).unwrap();
    assert_eq!(rig.unloaded(), 2);
    rig.eventually("the model leaves the index", |rig| rig.rows("m").is_empty());
}

#[test]
fn mode_poll_waits_for_a_file_until_it_is_closed() {
    let rig = Rig::start(poll(), &folder(&["m", "other"]));
    for _ in 0..2 {
        rig.begun().end(Ok(()));
    }
    rig.eventually("both serve", |rig| {
        rig.serving("m").is_some() && rig.serving("other").is_some()
    });
    let mut file = fs::File::create(rig.path("m/1/model")).unwrap();
    file.write_all(b"first half").unwrap();
    // Longer than the window: the other model comes to rest twice.
    for text in ["a", "ab"] {
        write(&rig.path("other/1/model"), text);
        let load = rig.begun();
        assert_eq!(load.model, "other");
        load.end(Ok(()));
        rig.unloaded();
    }
    file.write_all(b"second half").unwrap();
    drop(file);
    let load = rig.begun();
    assert_eq!(load.model, "m");
    load.end(Ok(()));
}

#[test]
fn mode_poll_finds_unheard_changes_and_tries_a_failed_load_again_only_when_files_change() {
    let config = Config {
        poll_interval: Duration::from_millis(10),
        ..poll()
    };
    let outside = folder(&["m"]);
    let folder = folder(&["other"]);
    let rig = Rig::start(config, &folder);
    rig.begun().end(Ok(()));
    // Changes behind a link that is made later are not notified.
    std::os::unix::fs::symlink(outside.path().join("m"), rig.path("m")).unwrap();
    rig.begun().end(Err(broken("bad weights")));
    rig.eventually("the failure shows", |rig| {
        rig.rows("m") == row(VersionState::Unavailable, "bad weights")
    });
    for text in ["a", "ab", "abc"] {
        write(&rig.path("other/1/model"), text);
        let load = rig.begun();
        assert_eq!(load.model, "other", "the failed model is left alone");
        load.end(Ok(()));
    }
    write(&outside.path().join("m/1/model"), "good");
    let load = rig.begun();
    assert_eq!(load.model, "m");
    load.end(Ok(()));
    rig.eventually("it serves", |rig| rig.serving("m").is_some());
}

#[test]
fn stop_unloads_everything() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    rig.repository.stop(Duration::from_secs(30)).unwrap();
    assert_eq!(rig.unloaded(), 1);
    assert_eq!(rig.serving("m"), None);
    assert_eq!(
        rig.load("m").wait().unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    rig.repository.stop(Duration::ZERO).unwrap();
}

#[test]
fn stop_ends_in_time_though_a_request_does_not() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    rig.load_well("m");
    let lease = rig.registry.resolve("m", None).unwrap();
    let error = rig.repository.stop(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop(lease);
    assert_eq!(rig.unloaded(), 1);
}

#[test]
fn what_is_loaded_after_the_stop_began_is_unloaded_again() {
    let rig = Arc::new(Rig::start(explicit(), &folder(&["m"])));
    let answer = rig.load("m");
    let load = rig.begun();
    let stop = {
        let repository = rig.repository.clone();
        std::thread::spawn(move || repository.stop(Duration::from_secs(30)))
    };
    // The first answer of a loop that stops: it takes no more orders.
    rig.eventually("the stop has begun", |rig| {
        rig.unload("other")
            .is_err_and(|error| error.message() == "Server exiting")
    });
    load.end(Ok(()));
    assert!(answer.wait().is_err());
    stop.join().unwrap().unwrap();
    assert_eq!(rig.unloaded(), 1);
    assert_eq!(rig.serving("m"), None);
}

#[test]
fn what_is_loaded_after_the_loop_ended_is_unloaded_too() {
    let rig = Rig::start(explicit(), &folder(&["m"]));
    let answer = rig.load("m");
    let load = rig.begun();
    rig.repository.stop(Duration::ZERO).unwrap_err();
    assert!(answer.wait().is_err());
    load.end(Ok(()));
    assert_eq!(rig.unloaded(), 1);
}
