use super::rig::{Rig, explicit, folder};
use crate::{error::Error, repository::VersionState};

fn row(reason: &str) -> Vec<(Option<u64>, Option<VersionState>, String)> {
    vec![(Some(1), Some(VersionState::Ready), reason.to_owned())]
}

#[test]
fn what_was_built_takes_the_place_of_what_stands_in() {
    let rig = Rig::start(explicit(), &folder(&["stand-in"]));
    rig.load_well("stand-in");
    assert_eq!(rig.serving("stand-in"), Some(1));
    assert_eq!(rig.rows("stand-in"), row("stands in"));
    let lease = rig.registry.resolve("stand-in", None).unwrap();
    rig.begun().end(Ok(()));
    rig.eventually("the swap", |rig| rig.serving("stand-in") == Some(2));
    assert_eq!(rig.rows("stand-in"), row(""));
    assert!(rig.nothing_unloaded(), "a request of it is under way");
    drop(lease);
    assert_eq!(rig.unloaded(), 1);
}

#[test]
fn if_nothing_is_built_what_stands_in_serves_on() {
    let rig = Rig::start(explicit(), &folder(&["stand-in"]));
    rig.load_well("stand-in");
    rig.begun().end(Err(Error::internal("test", "no engine")));
    rig.eventually("the remark", |rig| rig.rows("stand-in") == row("remains"));
    assert_eq!(rig.serving("stand-in"), Some(1));
    assert!(rig.nothing_unloaded());
}

#[test]
fn an_unload_halts_what_nobody_wants_any_more() {
    let rig = Rig::start(explicit(), &folder(&["stand-in"]));
    rig.load_well("stand-in");
    let build = rig.begun();
    let halt = build.halt.clone().unwrap();
    assert!(!halt.is_halted());
    rig.unload("stand-in").unwrap();
    assert!(halt.is_halted());
    assert_eq!(rig.unloaded(), 1);
    // It was too late to stop it: what comes of it is freed, and serves nobody.
    build.end(Ok(()));
    assert_eq!(rig.unloaded(), 2);
    assert_eq!(rig.serving("stand-in"), None);
}

#[test]
fn a_new_incarnation_is_not_replaced_by_what_the_old_one_waited_for() {
    let rig = Rig::start(explicit(), &folder(&["stand-in"]));
    rig.load_well("stand-in");
    let old = rig.begun();
    rig.unload("stand-in").unwrap();
    assert_eq!(rig.unloaded(), 1);
    rig.load_well("stand-in");
    old.end(Ok(()));
    assert_eq!(rig.unloaded(), 3);
    assert_eq!(rig.serving("stand-in"), Some(2));
    assert_eq!(rig.rows("stand-in"), row("stands in"));
    rig.begun().end(Ok(()));
    rig.eventually("the swap", |rig| rig.serving("stand-in") == Some(4));
}
