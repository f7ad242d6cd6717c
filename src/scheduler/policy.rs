//! The dynamic batcher's decision, as a function: Triton's rules (its `dynamic_batch_scheduler`),
//! with late binding: it is asked only when an instance is free.

use std::time::{Duration, Instant};

/// What limits a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows.
    pub max_batch_size: usize,
    /// Sizes worth waiting for, ascending.
    pub preferred: Vec<usize>,
    /// How long the oldest request may wait for a better batch.
    pub max_queue_delay: Duration,
}

impl Limits {
    /// One request at a time, whatever its size.
    pub fn unbatched() -> Self {
        Self {
            max_batch_size: 0,
            preferred: Vec::new(),
            max_queue_delay: Duration::ZERO,
        }
    }
}

/// One waiting request, in queue order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its rows.
    pub batch_size: usize,
    /// Whether it can share a batch with the first one.
    pub fits_first: bool,
    /// When it was queued.
    pub queued: Instant,
    /// When it has to be dropped.
    pub expires: Option<Instant>,
}

/// What a free instance should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run the first so many requests as one batch.
    Run(usize),
    /// Wait for more, at most until then.
    WaitUntil(Instant),
    /// There is nothing to run.
    Idle,
}

/// Decides for a free instance. Requests are taken strictly in order, never split, and the scan
/// ends at the first that does not fit.
pub fn decide(
    queue: impl IntoIterator<Item = Candidate>,
    limits: &Limits,
    now: Instant,
) -> Decision {
    let mut scan = Scan::default();
    let largest = limits
        .preferred
        .last()
        .copied()
        .unwrap_or(limits.max_batch_size);
    for candidate in queue {
        let grown = scan.rows + candidate.batch_size;
        if scan.count > 0 {
            if grown > limits.max_batch_size || !candidate.fits_first {
                scan.blocked = true;
                break;
            }
            if grown > largest && scan.preferred.is_none() {
                scan.preferred = Some(scan.count);
            }
        }
        scan.add(&candidate, grown);
        if limits.preferred.binary_search(&grown).is_ok() {
            scan.preferred = Some(scan.count);
        }
        if grown >= limits.max_batch_size {
            break;
        }
    }
    scan.conclude(limits, largest, now)
}

#[derive(Default)]
struct Scan {
    count: usize,
    rows: usize,
    /// Length of the longest prefix of a preferred size.
    preferred: Option<usize>,
    /// The next request does not fit: this batch cannot grow.
    blocked: bool,
    oldest: Option<Instant>,
    next_expiry: Option<Instant>,
}

impl Scan {
    fn add(&mut self, candidate: &Candidate, rows: usize) {
        self.count += 1;
        self.rows = rows;
        self.oldest = Some(
            self.oldest
                .map_or(candidate.queued, |oldest| oldest.min(candidate.queued)),
        );
        self.next_expiry = match (self.next_expiry, candidate.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn conclude(&self, limits: &Limits, largest: usize, now: Instant) -> Decision {
        let Some(oldest) = self.oldest else {
            return Decision::Idle;
        };
        let delay = limits.max_queue_delay;
        let waited_enough = now.saturating_duration_since(oldest) >= delay;
        match self.preferred {
            Some(count) if delay.is_zero() || !waited_enough => Decision::Run(count),
            _ if self.blocked || self.rows >= largest || waited_enough => Decision::Run(self.count),
            _ => {
                let until = oldest + delay;
                Decision::WaitUntil(self.next_expiry.map_or(until, |expiry| until.min(expiry)))
            }
        }
    }
}
