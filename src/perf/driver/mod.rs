//! Threads that send requests and time the answers. Each has an event loop of its own over many
//! connections, and shares with the others nothing but a flag that says when to stop.

mod chooser;
mod connection;
mod events;
mod inside;
mod pacer;
mod pool;
mod recorder;
mod slots;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::Sender,
    },
    time::Instant,
};

pub(super) use self::{
    inside::{Calls as InsideCalls, drive as drive_inside},
    pacer::Pacing,
    pool::Link,
    recorder::{ModelSlice, Slice},
    worker::drive,
};
use super::{
    interrupt::Interrupt, load::Popularity, sequence::SequenceSource, verify::Verifier,
    wire::Message,
};

/// Nanoseconds for which threads may sleep without looking whether the run has been interrupted.
const LOOK: u64 = 200_000_000;

/// What the threads of one level of load have in common.
#[derive(Debug)]
pub(super) struct Orders {
    /// When the level begins. Times are nanoseconds since.
    pub(super) start: Instant,
    /// How long the parts are in which threads report.
    pub(super) slice: u64,
    pub(super) threads: usize,
    pub(super) pacing: Pacing,
    /// Requests of each model, one for each sample.
    pub(super) requests: Vec<Vec<Message>>,
    pub(super) popularity: Popularity,
    /// If any of the models has sequences.
    pub(super) sequences: Option<Arc<SequenceSource>>,
    pub(super) seed: u64,
    /// One answer of so many is read and checked.
    pub(super) verify_every: u64,
    pub(super) verifier: Verifier,
    pub(super) stop: AtomicBool,
    pub(super) interrupt: Arc<Interrupt>,
    /// How many more requests may be sent, if that is limited.
    pub(super) budget: Option<AtomicU64>,
}

/// What a thread tells.
#[derive(Debug)]
pub(super) enum Report {
    /// A part is over.
    Slice(Slice),
    /// The thread has ended.
    End(Totals),
}

/// What a thread has done in all.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    /// Reasons of failures, and how often.
    pub(super) failures: BTreeMap<String, u64>,
    /// Why the thread could not go on.
    pub(super) broken: Option<String>,
}

/// Different reasons that are kept; the rest are counted as others.
const REASONS: usize = 16;

impl Orders {
    /// Nanoseconds since the start; 0 before it.
    pub(super) fn now(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.interrupt.is_raised()
    }

    /// Whether requests without an answer are given up, at the end.
    fn gives_up(&self, at: Instant) -> bool {
        self.interrupt.is_urgent() || Instant::now() >= at
    }

    /// Whether another request may be sent; if so, it counts.
    fn take(&self) -> bool {
        let Some(budget) = &self.budget else {
            return true;
        };
        let take = |left: u64| left.checked_sub(1);
        let taken = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

impl Totals {
    fn fail(&mut self, reason: &str) {
        self.failed += 1;
        let known = self.failures.len() < REASONS || self.failures.contains_key(reason);
        let reason = if known { reason } else { "other reasons" };
        *self.failures.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.done += other.done;
        self.failed += other.failed;
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        self.broken = self.broken.take().or(other.broken);
    }
}

/// The thread's way to whoever measures, who may have gone.
fn report(sender: &Sender<Report>, report: Report) {
    let _ = sender.send(report);
}

/// The share of thread `index` of `whole`.
fn share(whole: usize, threads: usize, index: usize) -> usize {
    whole / threads + usize::from(index < whole % threads)
}

/// What a thread is started with.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) orders: Arc<Orders>,
    /// Which of the threads it is.
    pub(super) thread: usize,
    pub(super) reports: Sender<Report>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (whole, threads) in [(1, 1), (7, 3), (2, 4), (64, 5)] {
            let shares: Vec<usize> = (0..threads).map(|i| share(whole, threads, i)).collect();
            assert_eq!(shares.iter().sum::<usize>(), whole);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut totals = Totals::default();
        for index in 0..100 {
            totals.fail(&format!("reason {}", index % 50));
        }
        assert_eq!(totals.failed, 100);
        assert_eq!(totals.failures.len(), REASONS + 1);
        assert_eq!(totals.failures.values().sum::<u64>(), 100);
        assert_eq!(totals.failures["reason 0"], 2);
    }
}
