//! A token bucket that keeps one instant: when what was taken out of it will have flowed in again.
//! Pure: `now` comes in.
//!
//! Where both can be asked it decides as the crate `governor` does, against which it is tested. What
//! quotas need and `governor` does not have: taking more than fits, as the bytes of an input are known
//! once it has been read (`charge`; `check_n` refuses what is more than the burst, and takes nothing
//! when it refuses); a rate that changes when the policy is read again, while what was taken stays taken
//! (a limiter is made for one rate); and being asked whether it is as full as a new one, so that the
//! number of buckets has a bound (its keyed limiters have none, until somebody has them tidied).

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// A debt is never longer than this, whatever was taken.
const LONGEST_DEBT: Duration = Duration::from_secs(24 * 3600);

/// How fast a bucket fills, and how much fits into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) per_second: NonZeroU64,
    pub(super) burst: NonZeroU64,
}

impl Rate {
    /// How long `amount` takes to flow in.
    fn time_of(self, amount: u64) -> Duration {
        let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.get());
        u64::try_from(nanoseconds).map_or(LONGEST_DEBT, Duration::from_nanos)
    }
}

/// What a principal has left of something. Full at first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full again; `None` if nothing was ever taken.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `amount` out, if that much is in it.
    ///
    /// # Errors
    /// How long to wait until it will be.
    pub(super) fn take(&mut self, rate: Rate, amount: u64, now: Instant) -> Result<(), Duration> {
        let debt = self.debt(now) + rate.time_of(amount);
        match debt.checked_sub(rate.time_of(rate.burst.get())) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = Some(now + debt.min(LONGEST_DEBT));
                Ok(())
            }
        }
    }

    /// Takes `amount` out, whether it is in it or not.
    pub(super) fn charge(&mut self, rate: Rate, amount: u64, now: Instant) {
        let debt = self.debt(now) + rate.time_of(amount);
        self.full_at = Some(now + debt.min(LONGEST_DEBT));
    }

    /// Whether anything is in it.
    ///
    /// # Errors
    /// How long to wait until something will be.
    pub(super) fn check(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        match self.debt(now).checked_sub(rate.time_of(rate.burst.get())) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Whether it is as full as a new one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.debt(now).is_zero()
    }

    /// How long it takes to become full.
    fn debt(&self, now: Instant) -> Duration {
        self.full_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate {
            per_second: NonZeroU64::new(per_second).unwrap(),
            burst: NonZeroU64::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_burst_goes_through_and_then_one_at_a_time() {
        let (mut bucket, rate, start) = (Bucket::default(), rate(10, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, 1, start), Ok(()));
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(bucket.take(rate, 1, start), Err(tenth));
        assert_eq!(bucket.take(rate, 1, start + tenth / 4), Err(tenth * 3 / 4));
        assert_eq!(bucket.take(rate, 1, start + tenth), Ok(()));
        assert_eq!(bucket.take(rate, 1, start + tenth), Err(tenth));
        assert!(!bucket.is_full(start + tenth) && bucket.is_full(start + tenth * 4));
    }

    #[test]
    fn what_is_charged_beyond_the_burst_has_to_flow_in_again() {
        let (mut bucket, rate, start) = (Bucket::default(), rate(100, 100), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(bucket.check(rate, start), Ok(()));
        bucket.charge(rate, 500, start);
        assert_eq!(bucket.check(rate, start), Err(second * 4));
        assert_eq!(bucket.check(rate, start + second * 4), Ok(()));
        bucket.charge(rate, u64::MAX, start);
        assert!(bucket.is_full(start + LONGEST_DEBT));
    }

    proptest! {
        #[test]
        fn decides_as_governor_does(
            // It counts in whole nanoseconds for one.
            per_second in prop::sample::select(vec![1_u64, 4, 10, 125, 1000]),
            burst in 1_u64..50,
            steps in prop::collection::vec((0_u64..2_000_000, 1_u32..60), 1..100),
        ) {
            let period = Duration::from_secs(1) / u32::try_from(per_second).unwrap();
            let most = NonZeroU32::new(u32::try_from(burst).unwrap()).unwrap();
            let quota = Quota::with_period(period).unwrap().allow_burst(most);
            let clock = FakeRelativeClock::default();
            let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
            let (mut bucket, rate, mut now) = (Bucket::default(), rate(per_second, burst), Instant::now());
            for (microseconds, amount) in steps {
                let step = Duration::from_micros(microseconds);
                now += step;
                clock.advance(step);
                let agrees = limiter.check_n(NonZeroU32::new(amount).unwrap());
                let taken = bucket.take(rate, amount.into(), now);
                prop_assert_eq!(taken.is_ok(), matches!(agrees, Ok(Ok(()))));
            }
        }

        #[test]
        fn never_more_is_taken_than_burst_and_rate_allow(
            per_second in 1_u64..1000,
            burst in 1_u64..50,
            steps in prop::collection::vec((0_u64..2_000_000, 1_u64..5), 1..100),
        ) {
            let (mut bucket, rate, start) = (Bucket::default(), rate(per_second, burst), Instant::now());
            let (mut now, mut taken) = (start, 0);
            for (microseconds, amount) in steps {
                now += Duration::from_micros(microseconds);
                match bucket.take(rate, amount, now) {
                    Ok(()) => taken += amount,
                    // Who waits as long as it is told to is let in, unless it asks for too much.
                    Err(wait) if amount <= burst => {
                        let mut later = bucket;
                        prop_assert_eq!(later.take(rate, amount, now + wait), Ok(()));
                    }
                    Err(_) => {}
                }
                let elapsed = (now - start).as_micros();
                let flowed = elapsed * u128::from(per_second) / 1_000_000;
                prop_assert!(u128::from(taken) <= u128::from(burst) + flowed + 1);
            }
        }
    }
}
