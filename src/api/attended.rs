//! Conversations whose client may send requests ahead and go away. Its end then stands behind bytes
//! that the protocol does not read before it has answered, and would not be seen before either.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    listener::{Conversation, InFlight},
    socket::Socket,
};

/// A conversation that ends as soon as its client is gone, if a request waits for its answer then.
pub(super) struct Attended<C> {
    conversation: Pin<Box<C>>,
    in_flight: InFlight,
    socket: Socket,
    end: End,
}

/// What is known of the client's end.
enum End {
    /// Nothing has waited so far: what is answered at once costs no look.
    Unasked,
    Awaited(Pin<Box<dyn Future<Output = ()> + Send>>),
    Come,
}

impl<C> Attended<C> {
    /// `conversation` over `socket`, which counts its requests by `in_flight`.
    pub(super) fn new(conversation: Pin<Box<C>>, in_flight: InFlight, socket: Socket) -> Self {
        Self {
            conversation,
            in_flight,
            socket,
            end: End::Unasked,
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let End::Unasked = self.end {
            let socket = self.socket.clone();
            self.end = End::Awaited(Box::pin(async move { socket.is_left().await }));
        }
        if let End::Awaited(end) = &mut self.end {
            ready!(end.as_mut().poll(context));
            self.end = End::Come;
        }
        Poll::Ready(())
    }
}

impl<C: Conversation> Future for Attended<C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reads = self.socket.reads();
        if let Poll::Ready(ended) = self.conversation.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        if self.in_flight.is_idle() {
            return Poll::Pending;
        }
        ready!(self.poll_end(context));
        if reads != self.socket.reads() {
            // Who still reads finds the end by itself, or leaves something unread: this is asked again.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        tracing::debug!("a client that sent more than was read is gone");
        Poll::Ready(Ok(()))
    }
}

impl<C: Conversation> Conversation for Attended<C> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        self.conversation.as_mut().graceful_shutdown();
    }
}
