//! Which requests are traced under one setting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    settings::Values,
    writer::{Message, Outbox},
};

/// One setting in force, until it is replaced. Traces that began under it end under it.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Tells its traces from those of other settings.
    pub(super) serial: u64,
    pub(super) values: Values,
    pub(super) outbox: Outbox,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    seen: u32,
    left: Option<u32>,
}

impl Sampler {
    pub(super) fn new(serial: u64, values: Values, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            serial,
            values,
            outbox,
            counts: Mutex::new(Counts {
                seen: 0,
                left: values.count,
            }),
        })
    }

    /// Whether the next request is traced.
    pub(super) fn take(&self) -> bool {
        !self.values.levels.is_off() && self.lock().take(self.values.rate)
    }

    /// How many more are.
    pub(super) fn left(&self) -> Option<u32> {
        self.lock().left
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.outbox.send(Message::Closed(self.serial));
    }
}

impl Counts {
    fn take(&mut self, rate: u32) -> bool {
        if self.left == Some(0) || rate == 0 {
            return false;
        }
        self.seen = (self.seen + 1) % rate;
        let taken = self.seen == 0;
        if taken {
            self.left = self.left.map(|left| left - 1);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_is_taken_until_the_number_is_reached() {
        let mut counts = Counts {
            seen: 0,
            left: Some(2),
        };
        let taken: Vec<_> = (0..12).map(|_| counts.take(3)).collect();
        let places: Vec<_> = (0..12).filter(|&place| taken[place]).collect();
        assert_eq!(places, [2, 5]);
        assert_eq!(counts.left, Some(0));
        counts.left = None;
        assert!((0..9).filter(|_| counts.take(1)).count() == 9);
        assert!(!counts.take(0));
    }
}
