//! Durations counted in buckets that are at most 1/128 of their value wide.

/// Bits of a value's leading digits that its bucket keeps.
const DIGITS: u32 = 7;
/// Values below are buckets of their own.
const EXACT: u64 = 2 << DIGITS;
const BUCKETS: usize = (64 - DIGITS as usize + 1) << DIGITS;

/// A histogram of nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

/// The buckets of a histogram that are not empty: what is kept and sent of many.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    buckets: Vec<(u16, u64)>,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, nanoseconds: u64) {
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    pub(super) fn merge(&mut self, other: &Sparse) {
        for &(bucket, count) in &other.buckets {
            if let Some(sum) = self.counts.get_mut(usize::from(bucket)) {
                *sum += count;
                self.count += count;
            }
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What was counted; nothing is left.
    pub(super) fn take(&mut self) -> Sparse {
        let mut sparse = Sparse {
            buckets: Vec::new(),
            sum: self.sum,
            max: self.max,
        };
        for (index, count) in self.counts.iter_mut().enumerate() {
            if *count > 0 {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                sparse.buckets.push((index, std::mem::take(count)));
            }
        }
        (self.count, self.sum, self.max) = (0, 0, 0);
        sparse
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The exact mean; 0 of nothing.
    pub(super) fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// The exact maximum.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// A duration that so many per cent of all do not exceed, and at most 1/128 above the least such.
    pub(super) fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent / 100.0 * self.count as f64).ceil().max(1.0);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if count > 0 && seen as f64 >= rank {
                return upper(index).min(self.max);
            }
        }
        self.max
    }

    /// How many did not exceed this duration, to the width of a bucket.
    pub(super) fn count_within(&self, nanoseconds: u64) -> u64 {
        let last = bucket(nanoseconds);
        self.counts.iter().take(last + 1).sum()
    }

    /// Points of the cumulative distribution, (nanoseconds, share), of every bucket that is not empty.
    pub(super) fn cumulative(&self) -> Vec<(u64, f64)> {
        let mut seen = 0;
        let mut points = Vec::new();
        for (index, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                seen += count;
                let share = seen as f64 / self.count as f64;
                points.push((upper(index).min(self.max), share));
            }
        }
        points
    }
}

fn bucket(value: u64) -> usize {
    let shift = if value < EXACT {
        0
    } else {
        63 - value.leading_zeros() - DIGITS
    };
    let index = (u64::from(shift) << DIGITS) + (value >> shift);
    usize::try_from(index).unwrap_or(BUCKETS)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let index = bucket as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index >> DIGITS) - 1;
    let digits = index - (shift << DIGITS);
    ((u128::from(digits + 1) << shift) - 1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf::number::whole_count;

    proptest! {
        #[test]
        fn a_value_is_within_its_bucket_and_buckets_are_narrow(value: u64) {
            let index = bucket(value);
            prop_assert!(index < BUCKETS);
            prop_assert!(upper(index) >= value);
            prop_assert!(index == 0 || upper(index - 1) < value);
            prop_assert!(upper(index) - value <= value / 128);
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(
            mut values in prop::collection::vec(0..10_000_000_u64, 1..400),
            percent in 1.0..100.0_f64,
        ) {
            let mut histogram = Histogram::default();
            for &value in &values {
                histogram.add(value);
            }
            values.sort_unstable();
            let rank = whole_count((percent / 100.0 * values.len() as f64).ceil().max(1.0));
            let exact = values[rank - 1];
            let found = histogram.percentile(percent);
            prop_assert!(found >= exact && found - exact <= exact / 128, "{found} {exact}");
            prop_assert_eq!(histogram.max(), *values.last().unwrap());
        }
    }

    #[test]
    fn parts_that_are_taken_add_up() {
        let (mut whole, mut part, mut sum) = (
            Histogram::default(),
            Histogram::default(),
            Histogram::default(),
        );
        for value in (0..5000_u64).map(|i| i * i) {
            whole.add(value);
            part.add(value);
            if value % 7 == 0 {
                sum.merge(&part.take());
                assert_eq!(part.count(), 0);
            }
        }
        sum.merge(&part.take());
        assert_eq!(sum.cumulative(), whole.cumulative());
        assert_eq!((sum.count(), sum.max()), (whole.count(), whole.max()));
        assert!((sum.mean() - whole.mean()).abs() < 1e-6);
    }

    #[test]
    fn counts_within_a_target() {
        let mut histogram = Histogram::default();
        for value in [10, 20, 30, 40] {
            histogram.add(value);
        }
        for (target, due) in [(9, 0), (10, 1), (35, 3), (1000, 4)] {
            assert_eq!(histogram.count_within(target), due);
        }
        assert_eq!(Histogram::default().percentile(99.0), 0);
    }
}
