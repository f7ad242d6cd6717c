//! Which request a thread sends next.

use super::{super::random::Random, Orders, Place};

/// Which request is next.
pub(super) struct Chooser {
    random: Random,
    /// How many requests of each model were sent.
    counts: Vec<usize>,
    count: u64,
}

impl Chooser {
    pub(super) fn new(place: &Place) -> Self {
        let orders = &place.orders;
        Self {
            random: Random::new(orders.seed ^ (place.thread as u64 + 1)),
            // The threads begin with different samples.
            counts: vec![place.thread; orders.requests.len()],
            count: 0,
        }
    }

    /// Model, sample, and whether the answer is to be checked.
    pub(super) fn next(&mut self, orders: &Orders) -> (usize, usize, bool) {
        let model = if orders.popularity.is_one() {
            0
        } else {
            orders.popularity.pick(self.random.unit())
        };
        let samples = orders.requests.get(model).map_or(1, Vec::len).max(1);
        let sample = self.counts.get_mut(model).map_or(0, |count| {
            *count += 1;
            (*count - 1) % samples
        });
        let keep = orders.verify_every > 0 && self.count.is_multiple_of(orders.verify_every);
        self.count += 1;
        (model, sample, keep)
    }
}
