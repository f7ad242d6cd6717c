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

use loom::thread;

use self::{
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
