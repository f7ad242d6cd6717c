//! What an inference is: the request, the response, how long it took, and the one door below the
//! api floor. Knows nothing of queues, engines or wire formats.

mod name;
mod order;
mod parts;
mod probe;
mod request;
mod response;
mod response_statistics;
mod statistics;

use std::fmt;

pub use self::{
    name::ModelName,
    order::Order,
    parts::{Part, PartSender, ResponseStream},
    probe::{Probe, Stage},
    request::{Correlation, CorrelationId, Input, Parameter, Parameters, Request},
    response::{
        Outcome, Output, Response, ResponseReceiver, ResponseSender, response_channel,
        response_stream,
    },
    response_statistics::{ResponseKind, ResponseRecord, ResponseSnapshot, ResponseStatistics},
    statistics::{
        BatchSnapshot, DurationSnapshot, ExecutionRecord, FailureReason, Histograms, RequestTiming,
        Snapshot, Statistics,
    },
};
use crate::error::Error;

/// The only door below the api floor. `submit` never blocks; the answer comes by the request's
/// [`ResponseSender`].
pub trait Infer: Send + Sync {
    /// Takes the request in, or gives it back whole with the reason.
    fn submit(&self, request: Request) -> Result<(), Box<Rejected>>;

    /// Says that somebody waits for an answer no more, so that a request of theirs that is still queued
    /// is looked for and let go, though nobody may come for the next batch for long.
    fn withdrawn(&self);
}

/// A request that was not taken in.
pub struct Rejected {
    /// The request, unanswered.
    pub request: Request,
    /// Why.
    pub error: Error,
}

impl Rejected {
    /// Boxes the pair: a refusal is rare and should not widen every `Result`.
    pub fn new(request: Request, error: Error) -> Box<Self> {
        Box::new(Self { request, error })
    }

    /// Answers the request with the reason.
    pub fn answer(self) {
        self.request.respond.send(Err(self.error));
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
