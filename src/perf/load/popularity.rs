//! Which of several models a request is for.

/// Picks by weight.
#[derive(Clone, Debug)]
pub(in crate::perf) struct Popularity {
    /// Sums of the weights so far, the last one being 1.
    sums: Vec<f64>,
}

impl Popularity {
    /// Every weight above 0, at least one of them.
    pub(in crate::perf) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = weights
            .into_iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        for part in &mut sums {
            *part /= sum;
        }
        Self { sums }
    }

    /// The model for a random number between 0 and 1.
    pub(in crate::perf) fn pick(&self, unit: f64) -> usize {
        let index = self.sums.partition_point(|&sum| sum < unit);
        index.min(self.sums.len().saturating_sub(1))
    }

    /// Whether there is nothing to choose.
    pub(in crate::perf) fn is_one(&self) -> bool {
        self.sums.len() <= 1
    }
}

/// Zipf's law: the weight of the model with that rank, the first being 0.
pub(in crate::perf) fn zipf(rank: usize, exponent: f64) -> f64 {
    (rank as f64 + 1.0).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Random;
    use super::*;

    #[test]
    fn models_are_picked_as_often_as_their_weights_say() {
        let mut random = Random::new(5);
        let weights = [1.0, 5.0, 4.0];
        let popularity = Popularity::new(weights);
        let mut picked = [0_u32; 3];
        for _ in 0..100_000 {
            picked[popularity.pick(random.unit())] += 1;
        }
        for (count, weight) in picked.iter().zip(weights) {
            let share = f64::from(*count) / 100_000.0;
            assert!((share - weight / 10.0).abs() < 0.01, "{picked:?}");
        }
    }

    #[test]
    fn the_ends_of_the_interval_are_somebodys() {
        let popularity = Popularity::new([1.0, 1.0]);
        assert_eq!(popularity.pick(f64::MIN_POSITIVE), 0);
        assert_eq!(popularity.pick(1.0), 1);
        assert!(Popularity::new([3.0]).is_one());
    }

    #[test]
    fn zipf_falls_with_the_rank() {
        assert!((zipf(0, 0.9) - 1.0).abs() < 1e-12);
        assert!((zipf(3, 1.0) - 0.25).abs() < 1e-12);
        assert!(zipf(5, 0.0) > zipf(5, 0.1));
    }
}
