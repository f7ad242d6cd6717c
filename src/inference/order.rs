//! Answers in the order of the requests (Triton's `preserve_ordering`): an answer that is early
//! waits until those before it are sent, to their end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::Outcome;

/// Gives out places, and lets answers leave in the order of their places.
#[derive(Debug, Default)]
pub struct Order(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_place: u64,
    next_answer: u64,
    early: BTreeMap<u64, Early>,
}

/// An answer whose turn has not come.
#[derive(Debug)]
enum Early {
    Whole(oneshot::Sender<Outcome>, Box<Outcome>),
    /// Its parts wait where they are; whoever reads them is told when the turn comes.
    Parts {
        turn: oneshot::Sender<()>,
        ended: bool,
    },
}

impl Order {
    /// The next place. Each place must be answered or ended, or those after it wait for ever; a
    /// [`super::ResponseSender`] sees to that.
    pub(super) fn place(&self) -> u64 {
        let mut state = self.lock();
        let place = state.next_place;
        state.next_place += 1;
        place
    }

    /// Sends this answer and those that it held up, or keeps it until it is due.
    pub(super) fn answer(&self, place: u64, sender: oneshot::Sender<Outcome>, outcome: Outcome) {
        let mut state = self.lock();
        let early = Early::Whole(sender, Box::new(outcome));
        state.early.insert(place, early);
        state.advance();
    }

    /// What tells when the turn of an answer in parts has come; `None` if it has. To be asked once.
    pub(super) fn turn(&self, place: u64) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if state.next_answer == place {
            return None;
        }
        let (turn, come) = oneshot::channel();
        state
            .early
            .insert(place, Early::Parts { turn, ended: false });
        Some(come)
    }

    /// Whether all answers before that place have ended.
    pub(super) fn is_due(&self, place: u64) -> bool {
        self.lock().next_answer == place
    }

    /// An answer in parts has ended: those after it may leave, once it has.
    pub(super) fn end(&self, place: u64) {
        let mut state = self.lock();
        if state.next_answer == place {
            state.next_answer += 1;
            state.advance();
        } else if let Some(Early::Parts { ended, .. }) = state.early.get_mut(&place) {
            *ended = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self) {
        while let Some(early) = self.early.remove(&self.next_answer) {
            // Nobody may be waiting any more; then the answer is dropped.
            match early {
                Early::Whole(sender, outcome) => drop(sender.send(*outcome)),
                Early::Parts { turn, ended } => {
                    let _ = turn.send(());
                    if !ended {
                        return;
                    }
                }
            }
            self.next_answer += 1;
        }
    }
}
