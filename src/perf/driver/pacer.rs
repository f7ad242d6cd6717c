//! When a thread sends its next request.

use std::iter::{Peekable, Skip, StepBy};

use super::{super::load::Arrivals, share};

/// How a level is paced.
#[derive(Clone, Debug)]
pub(in crate::perf) enum Pacing {
    /// So many requests are always under way: the next is sent when one is answered.
    Closed(usize),
    /// At times that are known beforehand, whatever happens to the requests before.
    Open(Arrivals),
}

/// One thread's part of it.
#[derive(Debug)]
pub(super) enum Pacer {
    Closed(usize),
    Open(Peekable<StepBy<Skip<Arrivals>>>),
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Now; it should have been sent at this time.
    Now(u64),
    /// Not before this time.
    At(u64),
    /// Not before an answer comes.
    Later,
}

impl Pacer {
    pub(super) fn new(pacing: &Pacing, threads: usize, thread: usize) -> Self {
        match pacing {
            Pacing::Closed(concurrency) => Self::Closed(share(*concurrency, threads, thread)),
            Pacing::Open(arrivals) => Self::Open(
                arrivals
                    .clone()
                    .skip(thread)
                    .step_by(threads.max(1))
                    .peekable(),
            ),
        }
    }

    /// When the next request is due, while so many are under way.
    pub(super) fn due(&mut self, now: u64, in_flight: usize) -> Due {
        match self {
            Self::Closed(most) if in_flight < *most => Due::Now(now),
            Self::Closed(_) => Due::Later,
            Self::Open(arrivals) => match arrivals.peek() {
                Some(&time) if time <= now => Due::Now(time),
                Some(&time) => Due::At(time),
                None => Due::Later,
            },
        }
    }

    /// The request that was due is sent.
    pub(super) fn sent(&mut self) {
        if let Self::Open(arrivals) = self {
            arrivals.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::load::Distribution;

    #[test]
    fn a_closed_loop_waits_for_answers() {
        let mut pacer = Pacer::new(&Pacing::Closed(5), 2, 0);
        assert_eq!(pacer.due(7, 2), Due::Now(7));
        assert_eq!(pacer.due(7, 3), Due::Later);
    }

    #[test]
    fn an_open_loop_does_not_and_counts_from_the_time_that_was_due() {
        let arrivals = Arrivals::new(Distribution::Constant, 1000.0, 1);
        let mut pacer = Pacer::new(&Pacing::Open(arrivals), 2, 1);
        // The second thread has every second request.
        assert_eq!(pacer.due(0, 0), Due::At(2_000_000));
        assert_eq!(pacer.due(9_000_000, 1000), Due::Now(2_000_000));
        pacer.sent();
        assert_eq!(pacer.due(9_000_000, 1001), Due::Now(4_000_000));
    }
}
