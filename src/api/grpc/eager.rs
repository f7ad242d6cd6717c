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

/// A connection that hands its streams to `arrivals`.
pub(super) struct Eager<C> {
    connection: Pin<Box<C>>,
    arrivals: Arrivals,
}

impl<C> Eager<C> {
    pub(super) fn new(arrivals: Arrivals, connection: C) -> Self {
        Self {
            connection: Box::pin(connection),
            arrivals,
        }
    }
}

impl<C: Conversation> Future for Eager<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            // Writes what the streams answered, and reads more of them.
            let polled = self.connection.as_mut().poll(context);
            if polled.is_ready() || !self.arrivals.run() {
                return polled;
            }
        }
    }
}

impl<C: Conversation> Conversation for Eager<C> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }
}
