//! Answers in parts, for decoupled models: any number of responses, and then an end. As many
//! responses as may be unread are kept; then whoever sends the next one waits for the reader.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{
    Semaphore,
    mpsc::{self, OwnedPermit, error::TrySendError},
    oneshot,
};

use super::{Order, Outcome, ResponseReceiver, response::unanswered};
use crate::error::{Error, Result};

/// One step of an answer.
#[derive(Clone, Debug)]
pub struct Part {
    /// A response, or what went wrong in its place; `None` if there is only an end to tell.
    pub outcome: Option<Outcome>,
    /// Whether no other part follows.
    pub last: bool,
}

/// Answers one request in parts. Dropping it before the last one ends the answer with `Internal`.
#[derive(Debug)]
pub struct PartSender {
    sender: mpsc::Sender<Box<Message>>,
    /// Room for the last part, which is never waited for.
    last: Option<OwnedPermit<Box<Message>>>,
    /// Set if answers leave in the order of the requests.
    place: Option<Place>,
}

/// Reads an answer part by part, whether the model is decoupled or not. Dropping it cancels the
/// request.
#[derive(Debug)]
pub struct ResponseStream(Source);

#[derive(Debug)]
struct Message {
    part: Part,
    /// What the reader has to wait for before it may show this part and those after it.
    turn: Option<oneshot::Receiver<()>>,
}

#[derive(Debug)]
struct Place {
    order: Arc<Order>,
    number: u64,
    turn: Option<oneshot::Receiver<()>>,
}

#[derive(Debug)]
enum Source {
    Whole(ResponseReceiver),
    Parts(PartReceiver),
    Ended,
}

#[derive(Debug)]
struct PartReceiver {
    receiver: mpsc::Receiver<Box<Message>>,
    /// A part whose turn may not have come.
    held: Option<Box<Message>>,
}

/// A sender and its reader; at most `unread` parts and the last one wait between them.
pub(super) fn part_channel(unread: usize) -> (PartSender, ResponseStream) {
    let room = unread.clamp(1, Semaphore::MAX_PERMITS - 1) + 1;
    let (sender, receiver) = mpsc::channel(room);
    let last = sender.clone().try_reserve_owned().ok();
    (
        PartSender {
            sender,
            last,
            place: None,
        },
        ResponseStream(Source::Parts(PartReceiver {
            receiver,
            held: None,
        })),
    )
}

impl Part {
    fn last(outcome: Outcome) -> Self {
        Self {
            outcome: Some(outcome),
            last: true,
        }
    }
}

impl PartSender {
    /// Sends a response, or a failure in the place of one, after which others may follow. Blocks
    /// while as many as may be are unread; not to be called inside an async runtime.
    ///
    /// # Errors
    /// `Cancelled` once nobody reads any more; `ResourceExhausted` if the answers before this one
    /// hold up more responses than may be unread.
    pub fn send(&mut self, outcome: Outcome) -> Result<()> {
        let message = Box::new(Message {
            part: Part {
                outcome: Some(outcome),
                last: false,
            },
            turn: self.take_turn(),
        });
        let sent = match self.sender.try_send(message) {
            Err(TrySendError::Full(_)) if !self.is_due() => return Err(self.too_many_held()),
            Err(TrySendError::Full(message)) => self.sender.blocking_send(message).is_ok(),
            sent => sent.is_ok(),
        };
        if sent {
            return Ok(());
        }
        Err(Error::cancelled("cancelled", "Request was cancelled"))
    }

    /// Ends the answer, with a last response if there is one. Never blocks.
    pub fn finish(mut self, outcome: Option<Outcome>) {
        self.end(outcome);
    }

    /// Whether nobody reads any more.
    pub fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
    }

    /// Takes the next place in `order`: the answer leaves after those of earlier places.
    pub(super) fn keep_order(&mut self, order: &Arc<Order>) {
        let number = order.place();
        self.place = Some(Place {
            order: Arc::clone(order),
            number,
            turn: order.turn(number),
        });
    }

    fn end(&mut self, outcome: Option<Outcome>) {
        let Some(permit) = self.last.take() else {
            return;
        };
        let part = Part {
            outcome,
            last: true,
        };
        let turn = self.take_turn();
        permit.send(Box::new(Message { part, turn }));
        if let Some(place) = self.place.take() {
            place.order.end(place.number);
        }
    }

    fn take_turn(&mut self) -> Option<oneshot::Receiver<()>> {
        self.place.as_mut().and_then(|place| place.turn.take())
    }

    fn is_due(&self) -> bool {
        let place = self.place.as_ref();
        place.is_none_or(|place| place.order.is_due(place.number))
    }

    /// To wait could be for ever: the answers before this one may come from the same thread.
    fn too_many_held(&self) -> Error {
        Error::resource_exhausted(
            "held_responses",
            format!(
                "more than {} responses wait for the answers to earlier requests, whose order \
                 is preserved; raise limits.unread_responses",
                self.sender.max_capacity().saturating_sub(1)
            ),
        )
    }
}

impl Drop for PartSender {
    fn drop(&mut self) {
        self.end(Some(Err(unanswered())));
    }
}

impl ResponseStream {
    /// The next part; `None` after the last one.
    pub async fn next(&mut self) -> Option<Part> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Part>> {
        let part = match &mut self.0 {
            Source::Whole(receiver) => Part::last(ready!(Pin::new(receiver).poll(context))),
            Source::Parts(parts) => ready!(parts.poll(context)),
            Source::Ended => return Poll::Ready(None),
        };
        if part.last {
            self.0 = Source::Ended;
        }
        Poll::Ready(Some(part))
    }
}

impl PartReceiver {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        if self.held.is_none() {
            let Some(message) = ready!(self.receiver.poll_recv(context)) else {
                return Poll::Ready(Part::last(Err(unanswered())));
            };
            self.held = Some(message);
        }
        let turn = self.held.as_mut().and_then(|held| held.turn.as_mut());
        if let Some(turn) = turn {
            // An order that is gone holds up nobody.
            let _come = ready!(Pin::new(turn).poll(context));
        }
        let held = self.held.take();
        Poll::Ready(held.map_or_else(|| Part::last(Err(unanswered())), |held| held.part))
    }
}

impl From<ResponseReceiver> for ResponseStream {
    fn from(receiver: ResponseReceiver) -> Self {
        Self(Source::Whole(receiver))
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, thread};

    use super::*;
    use crate::{error::ErrorKind, inference::Response};

    fn response() -> Outcome {
        Ok(Response::default())
    }

    /// What can be read now, as `r` (response), `e` (error), `.` (end), `R` or `E` (the last).
    fn read(stream: &mut ResponseStream) -> String {
        let mut context = Context::from_waker(Waker::noop());
        let mut text = String::new();
        while let Poll::Ready(Some(part)) = stream.poll_next(&mut context) {
            text.push(match (part.outcome, part.last) {
                (None, _) => '.',
                (Some(Ok(_)), false) => 'r',
                (Some(Ok(_)), true) => 'R',
                (Some(Err(_)), false) => 'e',
                (Some(Err(_)), true) => 'E',
            });
        }
        text
    }

    #[test]
    fn any_number_of_responses_and_then_an_end() {
        for (responses, last, want) in [
            (0, None, "."),
            (2, None, "rr."),
            (1, Some(response()), "rR"),
            (1, Some(Err(unanswered())), "rE"),
        ] {
            let (mut sender, mut stream) = part_channel(8);
            for _ in 0..responses {
                sender.send(response()).unwrap();
            }
            sender.finish(last);
            assert_eq!(read(&mut stream), want);
            assert_eq!(read(&mut stream), "", "nothing follows the last part");
        }
    }

    #[test]
    fn an_error_may_be_followed_by_responses() {
        let (mut sender, mut stream) = part_channel(8);
        sender.send(Err(unanswered())).unwrap();
        sender.send(response()).unwrap();
        assert_eq!(read(&mut stream), "er");
        drop(sender);
        assert_eq!(read(&mut stream), "E", "a dropped sender ends the answer");
    }

    #[test]
    fn a_sender_waits_for_a_slow_reader_and_the_last_part_does_not() {
        let (mut sender, mut stream) = part_channel(2);
        sender.send(response()).unwrap();
        sender.send(response()).unwrap();
        let blocked = thread::spawn(move || {
            sender.send(response()).unwrap();
            sender.finish(None);
        });
        let mut text = String::new();
        while !text.ends_with('.') {
            text += &read(&mut stream);
            assert!(text.len() <= 4, "{text}");
            thread::yield_now();
        }
        assert_eq!(text, "rrr.");
        blocked.join().unwrap();
    }

    #[test]
    fn a_reader_that_goes_away_is_noticed_even_by_who_waits_for_it() {
        let (mut sender, stream) = part_channel(1);
        assert!(!sender.is_cancelled());
        sender.send(response()).unwrap();
        let blocked = thread::spawn(move || {
            let error = sender.send(response()).unwrap_err();
            (error.kind(), sender.is_cancelled())
        });
        drop(stream);
        assert_eq!(blocked.join().unwrap(), (ErrorKind::Cancelled, true));
    }

    #[test]
    fn in_order_an_answer_waits_for_the_end_of_those_before_it() {
        let order = Arc::new(Order::default());
        let [
            (mut first, mut one),
            (mut second, mut two),
            (mut third, mut three),
        ] = [(); 3].map(|()| {
            let (mut sender, stream) = part_channel(2);
            sender.keep_order(&order);
            (sender, stream)
        });
        second.send(response()).unwrap();
        third.send(response()).unwrap();
        third.finish(None);
        first.send(response()).unwrap();
        assert_eq!([&mut one, &mut two, &mut three].map(read), ["r", "", ""]);
        first.finish(None);
        assert_eq!([&mut one, &mut two, &mut three].map(read), [".", "r", ""]);
        second.send(response()).unwrap();
        drop(second);
        assert_eq!([&mut one, &mut two, &mut three].map(read), ["", "rE", "r."]);
    }

    #[test]
    fn in_order_an_answer_that_is_held_up_fails_instead_of_waiting_for_ever() {
        let order = Arc::new(Order::default());
        let [(first, mut one), (mut second, mut two)] = [(); 2].map(|()| {
            let (mut sender, stream) = part_channel(1);
            sender.keep_order(&order);
            (sender, stream)
        });
        second.send(response()).unwrap();
        let error = second.send(response()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        second.finish(Some(Err(error)));
        first.finish(None);
        assert_eq!([&mut one, &mut two].map(read), [".", "rE"]);
    }
}
