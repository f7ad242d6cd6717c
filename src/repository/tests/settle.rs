use std::time::{Duration, Instant};

use super::name;
use crate::repository::{
    fingerprint::Fingerprint,
    settle::{Change, Due, Place, Settle},
};

const WINDOW: u64 = 500;

/// A settle machine on a virtual clock in milliseconds.
struct Clock {
    start: Instant,
    settle: Settle,
}

impl Clock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            settle: Settle::new(Duration::from_millis(WINDOW)),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn see(&mut self, ms: u64, change: Change) {
        let now = self.at(ms);
        self.settle.observe(change, now);
    }

    fn due(&mut self, ms: u64) -> Due {
        let now = self.at(ms);
        self.settle.due(now)
    }

    fn wake(&self) -> Option<u128> {
        let wake = self.settle.next_wake()?;
        Some(wake.duration_since(self.start).as_millis())
    }

    fn scanned(&mut self, ms: u64, files: u8, quiet: bool) -> bool {
        let now = self.at(ms);
        let files = Fingerprint::of(files);
        self.settle.scanned(&name("m"), files, quiet, now)
    }
}

fn place(path: &str) -> Place {
    Place {
        model: name("m"),
        path: path.into(),
    }
}

fn written(path: &str) -> Change {
    Change::Written(place(path))
}

fn closed(path: &str) -> Change {
    Change::Closed(place(path))
}

fn altered(path: &str) -> Change {
    Change::Altered(place(path))
}

fn moved(from: &str, to: &str) -> Change {
    Change::Moved {
        from: Some(place(from)),
        to: Some(place(to)),
    }
}

fn arrived(to: &str) -> Change {
    Change::Moved {
        from: None,
        to: Some(place(to)),
    }
}

fn settled() -> Due {
    Due {
        settled: vec![name("m")],
        unconfirmed: vec![],
    }
}

fn unconfirmed() -> Due {
    Due {
        settled: vec![],
        unconfirmed: vec![name("m")],
    }
}

#[test]
fn wakes_when_the_last_sign_of_change_is_old_enough() {
    // (what, changes by time, when it is due, whether without a look at the files)
    type Case = (&'static str, Vec<(u64, Change)>, u64, bool);
    let cases: Vec<Case> = vec![
        ("a folder made", vec![(0, altered("2"))], 500, false),
        (
            "each change begins the wait anew",
            vec![(0, altered("2")), (300, altered("x"))],
            800,
            false,
        ),
        (
            "a file closed",
            vec![(0, written("1/f")), (100, closed("1/f"))],
            600,
            false,
        ),
        (
            "a file never closed",
            vec![(0, written("1/f")), (100, written("1/f"))],
            60_100,
            false,
        ),
        (
            "one of two files not closed",
            vec![(0, written("1/f")), (5, written("1/g")), (9, closed("1/f"))],
            60_005,
            false,
        ),
        (
            "an open file removed",
            vec![(0, written("1/f")), (10, Change::Removed(place("1")))],
            510,
            false,
        ),
        (
            "a version renamed in from elsewhere",
            vec![(0, arrived("2"))],
            20,
            true,
        ),
        ("a model renamed in", vec![(7, arrived(""))], 27, true),
        (
            "a version staged beside the others",
            vec![
                (0, altered("2.tmp")),
                (1, written("2.tmp/f")),
                (2, closed("2.tmp/f")),
                (3, moved("2.tmp", "2")),
            ],
            23,
            true,
        ),
        (
            "a file written beside its place and renamed",
            vec![
                (0, written(".c")),
                (2, closed(".c")),
                (3, moved(".c", "config.pbtxt")),
            ],
            23,
            true,
        ),
        (
            "a tool that renames file by file",
            vec![
                (0, written("1/.f")),
                (1, closed("1/.f")),
                (2, moved("1/.f", "1/f")),
                (3, written("1/.g")),
                (4, closed("1/.g")),
            ],
            504,
            false,
        ),
        (
            "a rename beside a file in the making",
            vec![(0, written("1/f")), (5, arrived("2")), (9, closed("1/f"))],
            509,
            false,
        ),
        (
            "an open file keeps its writer when it is renamed",
            vec![
                (0, written("1/.f")),
                (5, moved("1/.f", "1/f")),
                (8, closed("1/f")),
            ],
            508,
            false,
        ),
        (
            "an open file renamed and never closed",
            vec![(0, written("1/.f")), (5, moved("1", "2"))],
            60_000,
            false,
        ),
    ];
    for (what, changes, due, atomic) in cases {
        let mut clock = Clock::new();
        for (ms, change) in changes {
            assert_eq!(clock.due(ms), Due::default(), "{what}");
            clock.see(ms, change);
        }
        assert_eq!(clock.wake(), Some(u128::from(due)), "{what}");
        assert_eq!(clock.due(due - 1), Due::default(), "{what}");
        let expected = if atomic { settled() } else { unconfirmed() };
        assert_eq!(clock.due(due), expected, "{what}");
    }
}

#[test]
fn a_settled_model_is_forgotten() {
    let mut clock = Clock::new();
    clock.see(0, arrived("2"));
    assert!(clock.settle.is_waiting(&name("m")));
    assert_eq!(clock.due(20), settled());
    assert!(!clock.settle.is_waiting(&name("m")));
    assert_eq!(clock.wake(), None);
}

#[test]
fn quiet_files_confirm_what_notifications_say() {
    let mut clock = Clock::new();
    clock.see(0, altered("1"));
    assert_eq!(clock.due(500), unconfirmed());
    assert!(clock.scanned(500, 1, true));
    assert_eq!(clock.wake(), None);
}

#[test]
fn files_that_change_unheard_are_looked_at_until_they_stay_the_same() {
    let mut clock = Clock::new();
    clock.see(0, altered("1"));
    assert_eq!(clock.due(500), unconfirmed());
    assert!(!clock.scanned(500, 1, false));
    assert_eq!(clock.due(1000), unconfirmed());
    assert!(!clock.scanned(1000, 2, false), "grown");
    assert_eq!(clock.wake(), Some(1500));
    assert_eq!(clock.due(1500), unconfirmed());
    assert!(clock.scanned(1500, 2, false), "the same twice");
}

#[test]
fn what_a_scan_discovers_needs_a_second_equal_scan() {
    let mut clock = Clock::new();
    let now = clock.at(0);
    clock
        .settle
        .discovered(&name("m"), Fingerprint::of(1_u8), now);
    assert_eq!(clock.due(499), Due::default());
    assert_eq!(clock.due(500), unconfirmed());
    assert!(!clock.scanned(500, 2, true), "times alone do not count");
    assert_eq!(clock.due(1000), unconfirmed());
    assert!(clock.scanned(1000, 2, true));
}

#[test]
fn models_come_to_rest_one_by_one() {
    let mut clock = Clock::new();
    clock.see(0, altered("1"));
    let other = Place {
        model: name("n"),
        path: "1".into(),
    };
    clock.see(100, Change::Altered(other.clone()));
    clock.see(
        110,
        Change::Moved {
            from: Some(place("x")),
            to: Some(other),
        },
    );
    assert_eq!(clock.due(609), Due::default());
    assert_eq!(clock.wake(), Some(610));
    assert_eq!(clock.due(610).unconfirmed, [name("m"), name("n")]);
}
