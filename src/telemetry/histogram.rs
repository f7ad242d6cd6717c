//! A fixed-bucket histogram of atomics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts observations in buckets. Lock-free; a reading taken during writes may be off by those.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// The sum, in millionths of the observed unit.
    sum: AtomicU64,
}

impl Histogram {
    /// Buckets with these inclusive upper bounds, ascending, and one more for the rest.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one non-negative `value`.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, as wanted
        self.sum.fetch_add((value * 1e6) as u64, Relaxed);
    }

    /// `(upper bound, observations at or below it)` for each bound, then the count and the sum of
    /// all.
    pub fn cumulative(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut below = 0;
        let buckets = self
            .bounds
            .iter()
            .zip(&self.counts)
            .map(|(&bound, count)| {
                below += count.load(Relaxed);
                (bound, below)
            })
            .collect();
        let rest = self.counts.last().map_or(0, |count| count.load(Relaxed));
        #[allow(clippy::cast_precision_loss)] // a sum for dashboards
        let sum = self.sum.load(Relaxed) as f64 / 1e6;
        (buckets, below + rest, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_inclusive() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let (buckets, count, sum) = histogram.cumulative();
        assert_eq!(buckets, [(1.0, 2), (2.0, 3)]);
        assert_eq!(count, 4);
        assert!((sum - 12.0).abs() < 1e-6);
    }
}
