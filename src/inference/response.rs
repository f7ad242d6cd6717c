//! The answer, and the way it travels back.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Parameters;
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

/// Answers a request exactly once. Dropping it unanswered answers with `Internal`, so that nobody
/// waits for ever.
#[derive(Debug)]
pub struct ResponseSender {
    unary: Option<oneshot::Sender<Outcome>>,
}

/// Waits for a request's answer. Dropping it cancels the request.
#[derive(Debug)]
pub struct ResponseReceiver(oneshot::Receiver<Outcome>);

/// A sender and its receiver.
pub fn response_channel() -> (ResponseSender, ResponseReceiver) {
    let (sender, receiver) = oneshot::channel();
    (
        ResponseSender {
            unary: Some(sender),
        },
        ResponseReceiver(receiver),
    )
}

impl ResponseSender {
    /// Sends the answer. If the client is gone it is dropped.
    pub fn send(mut self, outcome: Outcome) {
        if let Some(sender) = self.unary.take() {
            drop(sender.send(outcome));
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.unary.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Drop for ResponseSender {
    fn drop(&mut self) {
        if let Some(sender) = self.unary.take() {
            drop(sender.send(Err(unanswered())));
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

fn unanswered() -> Error {
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
    fn a_dropped_receiver_cancels() {
        let (sender, receiver) = response_channel();
        assert!(!sender.is_cancelled());
        drop(receiver);
        assert!(sender.is_cancelled());
        sender.send(Ok(Response::default()));
    }
}
