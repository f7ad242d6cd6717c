//! The interleavings of the small lock-free parts: the rooms' files are compiled again with
//! loom's types in the place of `std`'s.

/// What `crate::sync` is for the files below.
mod sync {
    // `self: &Arc<Self>` is for the standard `Arc` only; its own counting is not what is checked.
    pub use std::sync::Arc;

    pub use loom::sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    };
}

#[path = "../src/model/lease.rs"]
#[allow(dead_code, reason = "not every model needs every method")]
mod lease;

#[path = "../src/scheduler/handoff.rs"]
#[allow(dead_code, reason = "not every model needs every method")]
mod handoff;

use loom::thread;

use self::{
    handoff::{Handoff, Next},
    lease::Leases,
    sync::{Arc, AtomicUsize, Ordering},
};

/// Checks `model` in every interleaving with at most three forced switches between threads: more
/// would take minutes, and known faults of such code need two.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn after_the_wait_no_lease_is_out_and_none_is_given() {
    check(|| {
        let leases = Arc::new(Leases::default());
        let users = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (leases, users) = (Arc::clone(&leases), Arc::clone(&users));
                thread::spawn(move || {
                    if let Some(guard) = leases.acquire() {
                        users.fetch_add(1, Ordering::Relaxed);
                        users.fetch_sub(1, Ordering::Relaxed);
                        drop(guard);
                    }
                })
            })
            .collect();
        leases.close();
        leases.wait_drained();
        assert_eq!(
            users.load(Ordering::Relaxed),
            0,
            "in use after it was drained"
        );
        assert!(
            leases.acquire().is_none(),
            "a lease was given after the close"
        );
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(leases.count(), 0);
    });
}

#[test]
fn a_lease_taken_before_the_close_holds_the_wait_back() {
    check(|| {
        let leases = Arc::new(Leases::default());
        let given_back = Arc::new(AtomicUsize::new(0));
        let guard = leases.acquire().expect("open");
        let user = {
            let given_back = Arc::clone(&given_back);
            thread::spawn(move || {
                given_back.store(1, Ordering::Relaxed);
                drop(guard);
            })
        };
        leases.close();
        leases.wait_drained();
        // The guard's drop happens before the end of the wait, and the store before the drop.
        assert_eq!(given_back.load(Ordering::Relaxed), 1);
        user.join().unwrap();
    });
}

#[test]
fn whoever_closes_every_waiter_wakes() {
    check(|| {
        let leases = Arc::new(Leases::default());
        let guard = leases.acquire().expect("open");
        let waiter = {
            let leases = Arc::clone(&leases);
            thread::spawn(move || {
                leases.close();
                leases.wait_drained();
            })
        };
        drop(guard);
        leases.close();
        leases.wait_drained();
        waiter.join().unwrap();
    });
}

#[test]
fn a_refused_acquire_beside_the_close_does_not_end_the_wait_early() {
    check(|| {
        let leases = Arc::new(Leases::default());
        let users = Arc::new(AtomicUsize::new(1));
        let guard = leases.acquire().expect("open");
        let threads = [
            {
                let leases = Arc::clone(&leases);
                thread::spawn(move || drop(leases.acquire()))
            },
            {
                let users = Arc::clone(&users);
                thread::spawn(move || {
                    users.store(0, Ordering::Relaxed);
                    drop(guard);
                })
            },
        ];
        leases.close();
        leases.wait_drained();
        assert_eq!(users.load(Ordering::Relaxed), 0);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Takes the oldest item, or waits.
fn pop(queue: &mut Vec<usize>) -> Next<usize> {
    if queue.is_empty() {
        Next::Wait
    } else {
        Next::Take(queue.remove(0))
    }
}

fn push(handoff: &Handoff<Vec<usize>>, item: usize) -> bool {
    handoff.push(item, Vec::push).is_ok()
}

#[test]
fn no_waiter_sleeps_while_there_is_work() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let handoff = Arc::clone(&handoff);
                // Ends only if it gets an item: a lost wake-up is a deadlock, which loom reports.
                thread::spawn(move || handoff.take((), |queue, _| pop(queue)).unwrap().0)
            })
            .collect();
        assert!(push(&handoff, 1));
        assert!(push(&handoff, 2));
        let mut taken: Vec<_> = waiters.into_iter().map(|it| it.join().unwrap()).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2], "each item is taken once");
    });
}

#[test]
fn what_is_left_after_a_take_wakes_the_next_waiter() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let handoff = Arc::clone(&handoff);
                thread::spawn(move || handoff.take((), |queue, _| pop(queue)).unwrap().0)
            })
            .collect();
        // Both at once, and only one notification for them.
        let both = handoff.push((), |queue: &mut Vec<usize>, ()| queue.extend([1, 2]));
        assert!(both.is_ok());
        let taken: usize = waiters.into_iter().map(|it| it.join().unwrap()).sum();
        assert_eq!(taken, 3);
    });
}

#[test]
fn a_close_beside_a_push_loses_nothing_and_wakes_everybody() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiter = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || {
                let mut count = 0;
                while handoff.take((), |queue, _| pop(queue)).is_some() {
                    count += 1;
                }
                count
            })
        };
        let pusher = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || usize::from(push(&handoff, 1)))
        };
        handoff.close();
        let pushed = pusher.join().unwrap();
        assert_eq!(
            waiter.join().unwrap(),
            pushed,
            "taken as many as were let in"
        );
    });
}

#[test]
fn whoever_takes_something_out_in_between_takes_it_once_and_loses_no_wake_up() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiter = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || usize::from(handoff.take((), |queue, _| pop(queue)).is_some()))
        };
        let remover = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || handoff.with(|queue| queue.pop().map_or(0, |_| 1)))
        };
        assert!(push(&handoff, 1));
        let removed: usize = remover.join().unwrap();
        if removed > 0 {
            assert!(push(&handoff, 2), "for the waiter, who got nothing");
        }
        assert_eq!(waiter.join().unwrap(), 1);
    });
}

/// Works on what is there until it is told to end; the seat counts what was done at it.
fn work(handoff: &Handoff<Vec<usize>, usize>) -> usize {
    let (mut seat, mut taken) = (0, 0);
    while let Some((_, next)) = handoff.take(seat, |queue, _| pop(queue)) {
        taken += 1;
        seat = next + 1;
    }
    taken
}

#[test]
fn what_is_pushed_while_the_only_seat_is_lent_is_taken_when_it_is_back() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiter = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || {
                // Ends only if it gets an item and a seat.
                handoff.take(0, |queue, _| pop(queue)).unwrap()
            })
        };
        let borrower = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || {
                handoff
                    .lend(|queue, _| queue.is_empty())
                    .is_some_and(|mut lent| lent.seat().map(|seat| *seat += 1).is_some())
            })
        };
        assert!(handoff.push(7, Vec::push).is_ok());
        let (item, seat) = waiter.join().unwrap();
        let borrowed = borrower.join().unwrap();
        assert_eq!(item, 7);
        // It may have been borrowed after the waiter was done with it, but then there is none.
        assert_eq!(seat, usize::from(borrowed), "both used the same seat");
    });
}

#[test]
fn a_close_waits_for_the_seat_that_is_lent_and_loses_nothing() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiter = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || work(&handoff))
        };
        let user = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || match handoff.lend(|queue, _| queue.is_empty()) {
                Some(lent) => {
                    drop(lent);
                    0
                }
                None => usize::from(handoff.push(1, Vec::push).is_ok()),
            })
        };
        handoff.close();
        let pushed = user.join().unwrap();
        assert_eq!(waiter.join().unwrap(), pushed);
    });
}

#[test]
fn one_lent_seat_does_not_stop_the_other() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let handoff = Arc::clone(&handoff);
                thread::spawn(move || work(&handoff))
            })
            .collect();
        let lent = handoff.lend(|queue, _| queue.is_empty());
        assert!(handoff.push(1, Vec::push).is_ok());
        drop(lent);
        handoff.close();
        let taken: usize = waiters.into_iter().map(|it| it.join().unwrap()).sum();
        assert_eq!(taken, 1);
    });
}

#[test]
fn a_seat_that_stays_is_not_lent_and_comes_back_to_its_waiter() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Vec::new()));
        let waiters = [10, 20].map(|seat| {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || {
                let (item, own) = handoff.take_staying(seat, |queue, _| pop(queue)).unwrap();
                assert_eq!(own, seat);
                item
            })
        });
        assert!(handoff.push(1, Vec::push).is_ok());
        assert!(handoff.lend(|_, _| true).is_none());
        assert!(handoff.push(2, Vec::push).is_ok());
        let taken = waiters.map(|waiter| waiter.join().unwrap());
        assert!(taken == [1, 2] || taken == [2, 1]);
    });
}
