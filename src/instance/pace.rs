//! How long batches take and how often they come, as learned from those that were run. A pure
//! record: it looks at no clock.

use std::time::{Duration, Instant};

/// One slow batch must not count for long, nor one fast batch for much: an estimate goes up at
/// once, and down by this part of the difference.
const DECAY: u32 = 8;
/// Estimates go no higher: a stall of the machine says nothing about the model.
const MOST: Duration = Duration::from_millis(1);

/// An estimate of the time a batch takes, on the safe side, and of the time between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    busy: Option<Duration>,
    gap: Duration,
    last_start: Option<Instant>,
}

impl Pace {
    /// A batch began at `start` and took `duration`.
    pub fn observe(&mut self, start: Instant, duration: Duration) {
        let duration = duration.min(MOST);
        self.busy = Some(match self.busy {
            Some(busy) if duration < busy => busy - (busy - duration) / DECAY,
            _ => duration,
        });
        if let Some(last) = self.last_start.replace(start) {
            let gap = start.saturating_duration_since(last).min(MOST);
            self.gap = (self.gap * (DECAY - 1) + gap) / DECAY;
        }
    }

    /// How long a batch takes; `None` before the first.
    pub fn busy(&self) -> Option<Duration> {
        self.busy
    }

    /// How much time lies between the beginnings of two batches.
    pub fn gap(&self) -> Duration {
        self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn a_slow_batch_counts_at_once_and_is_forgotten_slowly() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.busy(), None);
        pace.observe(start, 10 * US);
        assert_eq!(pace.busy(), Some(10 * US));
        pace.observe(start, 90 * US);
        assert_eq!(pace.busy(), Some(90 * US));
        pace.observe(start, 10 * US);
        assert_eq!(pace.busy(), Some(80 * US));
        for _ in 0..60 {
            pace.observe(start, 10 * US);
        }
        assert!(pace.busy().unwrap() < 11 * US);
    }

    #[test]
    fn a_stall_counts_as_a_millisecond() {
        let mut pace = Pace::default();
        pace.observe(Instant::now(), Duration::from_secs(9));
        assert_eq!(pace.busy(), Some(MOST));
    }

    #[test]
    fn the_gap_nears_the_time_between_two_beginnings() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for count in 0..100 {
            pace.observe(start + count * 200 * US, US);
        }
        assert!(
            (199 * US..=200 * US).contains(&pace.gap()),
            "{:?}",
            pace.gap()
        );
    }
}
