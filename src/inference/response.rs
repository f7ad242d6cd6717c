//! The answer, and the way it travels back.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{Order, Parameters, PartSender, ResponseStream, parts::part_channel};
use crate::{
    error::{Error, Result},
    tensor::Tensor,
};

/// One named output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Index among the model's outputs.
    pub index: usize,
    /// The model's name for it.
    pub name: Arc<str>,
    /// The data, batch dimension included.
    pub tensor: Tensor,
}

/// The answer to a request: its wanted outputs in the wanted order.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The outputs.
    pub outputs: SmallVec<[Output; 2]>,
    /// Parameters that the backend adds.
    pub parameters: Parameters,
}

/// What a request comes to.
pub type Outcome = Result<Response>;

/// Answers a request: exactly once, or, for a decoupled model, in parts ([`Self::into_parts`]).
/// Dropping it unanswered answers with `Internal`, so that nobody waits for ever.
#[derive(Debug)]
pub struct ResponseSender {
    channel: Channel,
    /// Set if answers leave in the order of the requests, and this one is whole.
    place: Option<(Arc<Order>, u64)>,
}

#[derive(Debug)]
enum Channel {
    Whole(oneshot::Sender<Outcome>),
    Parts(Box<PartSender>),
    Used,
}

/// Waits for a request's answer. Dropping it cancels the request.
#[derive(Debug)]
pub struct ResponseReceiver(oneshot::Receiver<Outcome>);

/// A sender of one response and its receiver.
pub fn response_channel() -> (ResponseSender, ResponseReceiver) {
    let (sender, receiver) = oneshot::channel();
    let channel = Channel::Whole(sender);
    let sender = ResponseSender {
        channel,
        place: None,
    };
    (sender, ResponseReceiver(receiver))
}

/// A sender of any number of responses and their reader; at most `unread` responses wait between
/// them.
pub fn response_stream(unread: usize) -> (ResponseSender, ResponseStream) {
    let (sender, stream) = part_channel(unread);
    let channel = Channel::Parts(Box::new(sender));
    let sender = ResponseSender {
        channel,
        place: None,
    };
    (sender, stream)
}

impl ResponseSender {
    /// Sends the only response. If the client is gone it is dropped.
    pub fn send(mut self, outcome: Outcome) {
        self.answer(outcome);
    }

    /// The sender of an answer in parts.
    ///
    /// # Errors
    /// The same sender, if whoever waits wants exactly one response.
    pub fn into_parts(mut self) -> std::result::Result<PartSender, Self> {
        match mem::replace(&mut self.channel, Channel::Used) {
            Channel::Parts(parts) => Ok(*parts),
            channel => {
                self.channel = channel;
                Err(self)
            }
        }
    }

    /// Takes the next place in `order`: the answer leaves after those of earlier places.
    pub fn keep_order(&mut self, order: &Arc<Order>) {
        match &mut self.channel {
            Channel::Parts(parts) => parts.keep_order(order),
            Channel::Whole(_) | Channel::Used => {
                self.place = Some((Arc::clone(order), order.place()));
            }
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        match &self.channel {
            Channel::Whole(sender) => sender.is_closed(),
            Channel::Parts(parts) => parts.is_cancelled(),
            Channel::Used => true,
        }
    }

    fn answer(&mut self, outcome: Outcome) {
        match mem::replace(&mut self.channel, Channel::Used) {
            Channel::Whole(sender) => match self.place.take() {
                Some((order, place)) => order.answer(place, sender, outcome),
                None => drop(sender.send(outcome)),
            },
            Channel::Parts(parts) => parts.finish(Some(outcome)),
            Channel::Used => {}
        }
    }
}

impl Drop for ResponseSender {
    fn drop(&mut self) {
        if !matches!(self.channel, Channel::Used) {
            self.answer(Err(unanswered()));
        }
    }
}

impl ResponseReceiver {
    /// Waits on this thread; not to be called inside an async runtime.
    pub fn wait(self) -> Outcome {
        self.0.blocking_recv().unwrap_or_else(|_| Err(unanswered()))
    }
}

impl Future for ResponseReceiver {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|received| received.unwrap_or_else(|_| Err(unanswered())))
    }
}

pub(super) fn unanswered() -> Error {
    Error::internal("unanswered", "the request was dropped without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_dropped_sender_still_answers() {
        let (sender, receiver) = response_channel();
        drop(sender);
        assert_eq!(receiver.wait().unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn answers_leave_in_order_even_if_one_is_dropped() {
        let order = Arc::new(Order::default());
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (mut sender, receiver) = response_channel();
                sender.keep_order(&order);
                (sender, receiver)
            })
            .unzip();
        senders.pop().unwrap().send(Ok(Response::default()));
        let last = receivers.pop().unwrap();
        assert!(last.0.is_empty(), "the answer waits for those before it");
        drop(senders.pop());
        senders.pop().unwrap().send(Ok(Response::default()));
        assert!(last.wait().is_ok());
        assert!(receivers.pop().unwrap().wait().is_err());
        assert!(receivers.pop().unwrap().wait().is_ok());
    }

    #[test]
    fn a_sender_of_parts_can_also_answer_once() {
        let (sender, receiver) = response_channel();
        assert!(sender.into_parts().is_err());
        assert!(receiver.wait().is_err());
        let (sender, mut stream) = response_stream(1);
        sender.send(Ok(Response::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let part = runtime.block_on(stream.next()).unwrap();
        assert!(part.last && part.outcome.unwrap().is_ok());
        assert!(runtime.block_on(stream.next()).is_none());
    }

    #[test]
    fn a_dropped_receiver_cancels() {
        let (sender, receiver) = response_channel();
        assert!(!sender.is_cancelled());
        drop(receiver);
        assert!(sender.is_cancelled());
        sender.send(Ok(Response::default()));
    }
}
