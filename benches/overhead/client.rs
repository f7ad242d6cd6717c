//! What a protocol's client is to the closed loop.

use std::{future::Future, time::Instant};

use anyhow::Result;

/// Asks one model for one thing, over as many connections as are opened.
pub trait Client: Clone + Send + 'static {
    /// Who has one request in flight.
    type Caller: Caller;

    /// How many callers share a connection, once there are that many.
    const CALLERS_PER_CONNECTION: usize;

    /// Opens a connection for that many callers.
    fn connect(&self, callers: usize) -> impl Future<Output = Result<Vec<Self::Caller>>> + Send;
}

/// Has one request in flight.
pub trait Caller: Send + 'static {
    /// Sends the request, waits for the answer and checks it. Returns when the answer was complete,
    /// so that checking is not part of the latency.
    fn exchange(&mut self) -> impl Future<Output = Result<Instant>> + Send;
}
