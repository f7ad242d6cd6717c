//! When requests of an open loop are due: a function of the distribution, the rate and a seed, and of
//! nothing that happens while they are sent.

use std::sync::Arc;

use super::super::{number::whole, random::Random};

/// How the intervals between requests are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// All are equal.
    Constant,
    /// Exponentially, as of many clients that know nothing of each other.
    Poisson,
    /// Gamma, with this coefficient of variation: 1 is Poisson, more comes in bursts.
    Gamma(f64),
}

/// The times of all requests, in nanoseconds since the start, ascending, without an end.
#[derive(Clone, Debug)]
pub(in crate::perf) struct Arrivals {
    /// Seconds since the start.
    time: f64,
    intervals: Intervals,
}

#[derive(Clone, Debug)]
enum Intervals {
    Drawn {
        distribution: Distribution,
        /// Seconds.
        mean: f64,
        random: Random,
    },
    /// Seconds, over and over.
    Trace { seconds: Arc<[f64]>, next: usize },
}

impl Arrivals {
    /// `rate` requests a second.
    pub(in crate::perf) fn new(distribution: Distribution, rate: f64, seed: u64) -> Self {
        Self {
            time: 0.0,
            intervals: Intervals::Drawn {
                distribution,
                mean: rate.recip(),
                random: Random::new(seed),
            },
        }
    }

    /// These intervals, in seconds, over and over.
    pub(in crate::perf) fn replay(seconds: Arc<[f64]>) -> Self {
        Self {
            time: 0.0,
            intervals: Intervals::Trace { seconds, next: 0 },
        }
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.time += self.intervals.next()?;
        Some(whole(self.time * 1e9))
    }
}

impl Intervals {
    fn next(&mut self) -> Option<f64> {
        match self {
            Self::Drawn {
                distribution,
                mean,
                random,
            } => Some(*mean * distribution.draw(random)),
            Self::Trace { seconds, next } => {
                let interval = *seconds.get(*next)?;
                *next = (*next + 1) % seconds.len();
                Some(interval)
            }
        }
    }
}

impl Distribution {
    /// An interval, with mean 1.
    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Poisson => random.exponential(),
            Self::Gamma(variation) => {
                let shape = variation.powi(-2);
                random.gamma(shape) / shape
            }
        }
    }
}

/// The intervals of a file as perf_analyzer's `--request-intervals` takes it: one a line, in
/// microseconds. In seconds.
///
/// # Errors
/// If a line is no number, or there is nothing to repeat.
pub(in crate::perf) fn intervals(text: &str) -> Result<Arc<[f64]>, String> {
    let mut seconds = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let microseconds = line.parse::<f64>().ok();
        let sound = microseconds.filter(|value| value.is_finite() && *value >= 0.0);
        let Some(microseconds) = sound else {
            return Err(format!(
                "line {}: \"{line}\" is not a number of microseconds",
                index + 1
            ));
        };
        seconds.push(microseconds * 1e-6);
    }
    if seconds.iter().sum::<f64>() <= 0.0 {
        return Err("the intervals add up to nothing".to_owned());
    }
    Ok(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_kept_and_times_ascend() {
        let distributions = [
            Distribution::Constant,
            Distribution::Poisson,
            Distribution::Gamma(4.0),
        ];
        for distribution in distributions {
            let times: Vec<u64> = Arrivals::new(distribution, 1000.0, 7)
                .take(200_000)
                .collect();
            assert!(times.is_sorted(), "{distribution:?}");
            let seconds = *times.last().unwrap() as f64 / 1e9;
            assert!(
                (seconds / 200.0 - 1.0).abs() < 0.05,
                "{distribution:?} took {seconds} s"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_shares_add_up_to_them() {
        let all = || Arrivals::new(Distribution::Poisson, 50.0, 3);
        let times: Vec<u64> = all().take(300).collect();
        let mut shared: Vec<u64> = (0..3)
            .flat_map(|thread| all().skip(thread).step_by(3).take(100))
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, times);
        let other: Vec<u64> = Arrivals::new(Distribution::Poisson, 50.0, 4)
            .take(300)
            .collect();
        assert_ne!(other, times);
    }

    #[test]
    fn a_trace_is_repeated() {
        let trace = intervals("1000\n\n 500 \n").unwrap();
        let times: Vec<u64> = Arrivals::replay(trace).take(4).collect();
        assert_eq!(times, [1_000_000, 1_500_000, 2_500_000, 3_000_000]);
        for bad in ["", "0\n0", "12\nx", "-1", "inf"] {
            assert!(intervals(bad).is_err(), "{bad}");
        }
        assert!(intervals("5\nx").unwrap_err().starts_with("line 2"));
    }
}
