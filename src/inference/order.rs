//! Answers in the order of the requests (Triton's `preserve_ordering`): an answer that is early
//! waits until those before it are sent.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::Outcome;

/// Gives out places, and sends answers in the order of their places.
#[derive(Debug, Default)]
pub struct Order(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_place: u64,
    next_answer: u64,
    early: BTreeMap<u64, (oneshot::Sender<Outcome>, Outcome)>,
}

impl Order {
    /// The next place. Each place must be answered, or those after it wait for ever; a
    /// [`super::ResponseSender`] sees to that.
    pub(super) fn place(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = state.next_place;
        state.next_place += 1;
        place
    }

    /// Sends this answer and those that it held up, or keeps it until it is due.
    pub(super) fn answer(&self, place: u64, sender: oneshot::Sender<Outcome>, outcome: Outcome) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.early.insert(place, (sender, outcome));
        loop {
            let due = state.next_answer;
            let Some((sender, outcome)) = state.early.remove(&due) else {
                break;
            };
            state.next_answer += 1;
            // Nobody may be waiting any more; then the answer is dropped.
            drop(sender.send(outcome));
        }
    }
}
