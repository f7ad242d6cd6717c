//! An HTTP/2 connection whose streams are first run by the task that reads it, and on a task of
//! their own only if they have to wait. A request that is answered at once costs no task and no
//! wake-up, and what arrived together is answered with one write.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::Executor;
use tokio::io::AsyncWrite;

use super::held::Release;
use crate::api::listener::Conversation;

/// Answers are held back for so long at most, for others to leave with them.
const LONGEST_HOLD: Duration = Duration::from_micros(100);

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams of one connection that were never polled.
#[derive(Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<VecDeque<Stream>>>);

impl<F> Executor<F> for Arrivals
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push_back(Box::pin(stream));
    }
}

impl Arrivals {
    fn pop(&self) -> Option<Stream> {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.pop_front()
    }

    /// Runs what has arrived, until it has taken [`LONGEST_HOLD`]. False if there was nothing.
    fn run(&self) -> bool {
        let Some(mut stream) = self.pop() else {
            return false;
        };
        let start = Instant::now();
        loop {
            // Nobody is woken by this poll: the task polls again, and is woken then.
            let mut context = Context::from_waker(Waker::noop());
            if stream.as_mut().poll(&mut context).is_pending() {
                tokio::spawn(stream);
            }
            if start.elapsed() >= LONGEST_HOLD {
                return true;
            }
            stream = match self.pop() {
                Some(next) => next,
                None => return true,
            };
        }
    }
}

/// A connection that hands its streams to `arrivals`, over a transport that holds its writes back.
pub(super) struct Eager<C, T> {
    connection: Pin<Box<C>>,
    arrivals: Arrivals,
    transport: Release<T>,
}

impl<C, T> Eager<C, T> {
    pub(super) fn new(connection: C, arrivals: Arrivals, transport: Release<T>) -> Self {
        Self {
            connection: Box::pin(connection),
            arrivals,
            transport,
        }
    }
}

impl<C, T> Future for Eager<C, T>
where
    C: Conversation,
    T: AsyncWrite + Unpin,
{
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            // Writes what the streams answered, and reads more of them.
            let polled = self.connection.as_mut().poll(context);
            if polled.is_ready() {
                return polled;
            }
            let has_run = self.arrivals.run();
            let released = self.transport.poll_release(context);
            let has_failed = released == Poll::Ready(false);
            if !has_run && !has_failed {
                return Poll::Pending;
            }
        }
    }
}

impl<C, T> Conversation for Eager<C, T>
where
    C: Conversation,
    T: AsyncWrite + Unpin,
{
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }
}
