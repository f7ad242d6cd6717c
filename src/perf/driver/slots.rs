//! One thread's sequences. A sequence has one request under way at most: the next is sent when that is
//! answered.

use super::super::{
    random::Random,
    sequence::{SequenceSource, Step},
};

/// Places for sequences that are under way.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Slots without a request under way.
    free: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    model: usize,
    id: u64,
    sent: u64,
    length: u64,
}

/// What a slot sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) slot: usize,
    pub(super) model: usize,
    /// `None` for a model without sequences.
    pub(super) step: Option<Step>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self {
            slots: vec![Slot::default(); count],
            // The first comes first.
            free: (0..count).rev().collect(),
        }
    }

    /// Whether a sequence can go on, or a new one can begin.
    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// The next request; `choose` says of which model a new sequence is.
    pub(super) fn next(
        &mut self,
        source: &SequenceSource,
        random: &mut Random,
        choose: impl FnOnce(&mut Random) -> usize,
    ) -> Option<Next> {
        let index = self.free.pop()?;
        let slot = self.slots.get_mut(index)?;
        if slot.sent == slot.length {
            let model = choose(random);
            let (id, length) = match source.is_sequential(model) {
                true => source.begin(random),
                false => (0, 1),
            };
            *slot = Slot {
                model,
                id,
                sent: 0,
                length,
            };
        }
        slot.sent += 1;
        Some(slot.told(index, source))
    }

    /// The last request of a sequence that has begun and has none under way, whatever its length; `None`
    /// if there is no such sequence.
    pub(super) fn end_one(&mut self, source: &SequenceSource) -> Option<Next> {
        let slots = &self.slots;
        let is_open = |index: &usize| {
            let slot = slots.get(*index);
            slot.is_some_and(|slot| slot.sent < slot.length)
        };
        let place = self.free.iter().position(is_open)?;
        let index = self.free.swap_remove(place);
        let slot = self.slots.get_mut(index)?;
        slot.length = slot.sent + 1;
        slot.sent = slot.length;
        Some(slot.told(index, source))
    }

    /// The slot's request was answered; after a failure its sequence is over.
    pub(super) fn answered(&mut self, source: &SequenceSource, index: usize, well: bool) {
        if let Some(slot) = self.slots.get_mut(index) {
            if !well {
                slot.sent = slot.length;
            }
            if slot.sent == slot.length && source.is_sequential(slot.model) {
                source.end(slot.id);
            }
            // At the far end of the queue, so that all sequences go on.
            self.free.insert(0, index);
        }
    }
}

impl Slot {
    fn told(&self, slot: usize, source: &SequenceSource) -> Next {
        let step = source.is_sequential(self.model).then_some(Step {
            id: self.id,
            is_first: self.sent == 1,
            is_last: self.sent == self.length,
        });
        Next {
            slot,
            model: self.model,
            step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::sequence::SequenceSettings, *};

    fn source(length: u64) -> SequenceSource {
        let settings = SequenceSettings {
            length,
            length_variation: 0.0,
            ..SequenceSettings::default()
        };
        SequenceSource::new(settings, vec![true, false])
    }

    #[test]
    fn sequences_take_turns_and_have_one_request_under_way_each() {
        let (source, mut random) = (source(2), Random::new(1));
        let mut slots = Slots::new(2);
        let mut next = |slots: &mut Slots| {
            let next = slots.next(&source, &mut random, |_| 0)?;
            let step = next.step?;
            Some((next.slot, step.id, step.is_first, step.is_last))
        };
        assert_eq!(next(&mut slots), Some((0, 1, true, false)));
        assert_eq!(next(&mut slots), Some((1, 2, true, false)));
        assert!(!slots.has_free());
        assert_eq!(next(&mut slots), None);
        slots.answered(&source, 1, true);
        assert_eq!(next(&mut slots), Some((1, 2, false, true)));
        slots.answered(&source, 0, false);
        // What failed is not gone on with.
        assert_eq!(next(&mut slots), Some((0, 3, true, false)));
    }

    #[test]
    fn what_is_open_at_the_end_is_ended() {
        let (source, mut random) = (source(5), Random::new(1));
        let mut slots = Slots::new(2);
        slots.next(&source, &mut random, |_| 0);
        assert_eq!(slots.end_one(&source), None);
        slots.answered(&source, 0, true);
        let last = slots.end_one(&source).and_then(|next| next.step).unwrap();
        assert_eq!((last.id, last.is_first, last.is_last), (1, false, true));
        slots.answered(&source, 0, true);
        assert_eq!(slots.end_one(&source), None);
    }

    #[test]
    fn models_without_sequences_have_no_steps() {
        let (source, mut random) = (source(5), Random::new(1));
        let mut slots = Slots::new(1);
        let next = slots.next(&source, &mut random, |_| 1).unwrap();
        assert_eq!((next.model, next.step), (1, None));
    }
}
