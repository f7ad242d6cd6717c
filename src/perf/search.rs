//! Looks for the highest rate that still meets a target: doubles or halves until the answer lies
//! between two rates, then halves what lies between them.

/// Rates below are not tried.
const LEAST: f64 = 0.1;

/// A search under way.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// The highest rate that met the target.
    met: Option<f64>,
    /// The lowest rate that missed it.
    missed: Option<f64>,
    next: f64,
    /// Nothing beyond is tried.
    most: f64,
    /// How much apart, as a share, the two may be at the end.
    precision: f64,
}

impl Search {
    /// Starts at `start`, and goes no higher than `most`.
    pub(super) fn new(start: f64, most: f64, precision: f64) -> Self {
        Self {
            met: None,
            missed: None,
            next: start.min(most),
            most,
            precision,
        }
    }

    /// The rate to try next; `None` once the answer is known.
    pub(super) fn next(&self) -> Option<f64> {
        let (met, missed) = (
            self.met.unwrap_or(0.0),
            self.missed.unwrap_or(f64::INFINITY),
        );
        let open = missed > met * (1.0 + self.precision) && met < self.most && missed > LEAST;
        open.then_some(self.next)
    }

    /// Takes in whether the rate that was tried met the target.
    pub(super) fn record(&mut self, met: bool) {
        if met {
            self.met = Some(self.next);
        } else {
            self.missed = Some(self.next);
        }
        self.next = match (self.met, self.missed) {
            (Some(met), Some(missed)) => f64::midpoint(met, missed),
            (Some(met), None) => met * 2.0,
            (None, Some(missed)) => missed / 2.0,
            (None, None) => self.next,
        }
        .min(self.most);
    }

    /// The highest rate that met the target.
    pub(super) fn found(&self) -> Option<f64> {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found if rates up to `capacity` meet the target, and how many were tried.
    fn run(start: f64, most: f64, capacity: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(start, most, 0.02);
        let mut tried = 0;
        while let Some(rate) = search.next() {
            search.record(rate <= capacity);
            tried += 1;
            assert!(tried < 100, "the search does not end");
        }
        (search.found(), tried)
    }

    proptest! {
        #[test]
        fn finds_the_capacity_from_any_start(
            start in 1.0..1e6_f64,
            capacity in 1.0..1e6_f64,
        ) {
            let (found, tried) = run(start, f64::INFINITY, capacity);
            let found = found.unwrap();
            prop_assert!(found <= capacity && found * 1.021 >= capacity, "{found} {capacity}");
            prop_assert!(tried < 40, "{tried}");
        }
    }

    #[test]
    fn ends_at_the_bounds() {
        assert_eq!(run(100.0, 1000.0, 1e9).0, Some(1000.0));
        assert_eq!(run(100.0, f64::INFINITY, 0.0).0, None);
        assert_eq!(run(2000.0, 500.0, 1e9), (Some(500.0), 1));
    }
}
