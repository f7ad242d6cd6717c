//! Which request a thread sends next.

use super::{
    super::{random::Random, sequence::Step},
    Orders, Pacing, Place, share,
    slots::{Next, Slots},
};

/// Which request is next.
pub(super) struct Chooser {
    random: Random,
    /// How many requests of each model were sent.
    counts: Vec<usize>,
    count: u64,
    /// If there are sequences.
    slots: Option<Slots>,
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) model: usize,
    pub(super) sample: usize,
    /// Whether the answer is to be checked.
    pub(super) keep: bool,
    /// Where it stands in its sequence, if it is of one.
    pub(super) step: Option<Step>,
    /// Who is to be told when it is answered.
    pub(super) slot: Option<usize>,
}

impl Chooser {
    pub(super) fn new(place: &Place) -> Self {
        let orders = &place.orders;
        let slots = orders.sequences.as_ref().map(|source| {
            let whole = match orders.pacing {
                Pacing::Closed(concurrency) => concurrency,
                Pacing::Open(_) => source.count(),
            };
            Slots::new(share(whole, orders.threads, place.thread).max(1))
        });
        Self {
            random: Random::new(orders.seed ^ (place.thread as u64 + 1)),
            // The threads begin with different samples.
            counts: vec![place.thread; orders.requests.len()],
            count: 0,
            slots,
        }
    }

    /// Whether there is a request that may be sent now.
    pub(super) fn has_next(&self) -> bool {
        self.slots.as_ref().is_none_or(Slots::has_free)
    }

    /// The next request; `None` if none may be sent now.
    pub(super) fn next(&mut self, orders: &Orders) -> Option<Chosen> {
        let choose = |random: &mut Random| {
            if orders.popularity.is_one() {
                0
            } else {
                orders.popularity.pick(random.unit())
            }
        };
        let next = match (&mut self.slots, &orders.sequences) {
            (Some(slots), Some(source)) => Some(slots.next(source, &mut self.random, choose)?),
            _ => None,
        };
        let model = match next {
            Some(next) => next.model,
            None => choose(&mut self.random),
        };
        let keep = orders.verify_every > 0 && self.count.is_multiple_of(orders.verify_every);
        self.count += 1;
        Some(self.chosen(orders, model, next, keep))
    }

    /// The end of a sequence that is open, if there is one without a request under way.
    pub(super) fn end_one(&mut self, orders: &Orders) -> Option<Chosen> {
        let next = self.slots.as_mut()?.end_one(orders.sequences.as_ref()?)?;
        Some(self.chosen(orders, next.model, Some(next), false))
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, orders: &Orders, slot: Option<usize>, well: bool) {
        if let (Some(slots), Some(source), Some(slot)) = (&mut self.slots, &orders.sequences, slot)
        {
            slots.answered(source, slot, well);
        }
    }

    fn chosen(&mut self, orders: &Orders, model: usize, next: Option<Next>, keep: bool) -> Chosen {
        let samples = orders.requests.get(model).map_or(1, Vec::len).max(1);
        let sample = self.counts.get_mut(model).map_or(0, |count| {
            *count += 1;
            (*count - 1) % samples
        });
        Chosen {
            model,
            sample,
            keep,
            step: next.and_then(|next| next.step),
            slot: next.map(|next| next.slot),
        }
    }
}
