//! The threads of a level, as who measures sees them.

use std::{
    sync::{atomic::Ordering, mpsc::Receiver},
    thread,
    time::Instant,
};

use super::driver::{Orders, Report, Slice, Totals};

/// The threads of a level.
pub(super) struct Crew {
    threads: Vec<thread::JoinHandle<()>>,
    reports: Receiver<Report>,
    /// Threads that have not ended.
    at_work: usize,
    totals: Totals,
}

impl Crew {
    /// Threads that are at work, and where they report.
    pub(super) fn new(threads: Vec<thread::JoinHandle<()>>, reports: Receiver<Report>) -> Self {
        Self {
            at_work: threads.len(),
            threads,
            reports,
            totals: Totals::default(),
        }
    }

    /// Whether one of them is.
    pub(super) fn is_at_work(&self) -> bool {
        self.at_work > 0
    }

    /// The next part that a thread reports before the load is stopped; waits no longer than until
    /// `wake`, if that is given.
    pub(super) fn next_slice(&mut self, wake: Option<Instant>, orders: &Orders) -> Option<Slice> {
        let report = match wake {
            Some(wake) => {
                let left = wake.saturating_duration_since(Instant::now());
                self.reports.recv_timeout(left).ok()?
            }
            None => match self.reports.recv() {
                Ok(report) => report,
                Err(_) => {
                    // A thread that panicked does not say that it ended.
                    self.at_work = 0;
                    return None;
                }
            },
        };
        match report {
            Report::Slice(slice) => (!orders.stop.load(Ordering::Relaxed)).then_some(slice),
            Report::End(totals) => {
                self.at_work -= 1;
                if totals.broken.is_some() {
                    orders.stop.store(true, Ordering::Relaxed);
                }
                self.totals.add(totals);
                None
            }
        }
    }

    /// Waits for their end; what they have done.
    pub(super) fn end(self) -> Totals {
        let mut totals = self.totals;
        for thread in self.threads {
            if thread.join().is_err() {
                totals.broken = Some("a thread of the generator failed".to_owned());
            }
        }
        totals
    }
}
