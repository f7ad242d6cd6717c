//! How a request is answered: once, or, for the streams of either door, in as many parts as its
//! model likes. What is done to each response between the model and the wire is done here.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use super::{
    InferRequest,
    admit::Admitted,
    classification::Classification,
    shared_memory::{Destinations, StoredOutputs},
};
use crate::{
    admission::{Limits, Permit},
    error::{Error, Result},
    inference::{
        Outcome, Part, Probe, Request, Response, ResponseReceiver, ResponseStream, Stage,
        response_channel, response_stream,
    },
    model::{Lease, Model},
    model_config::ModelConfig,
    trace::Trace,
};

impl InferRequest {
    /// Has `model` answer it, and leaves nothing of it; what is to be in shared memory is there
    /// afterwards. Dropping the future cancels the request.
    pub(super) async fn run(
        &mut self,
        api: &Admitted<'_>,
        model: &Model,
    ) -> Result<(Response, StoredOutputs)> {
        let finishing = self.prepare(api, model.config()).await?;
        let (sender, receiver) = response_channel();
        let trace = self.identified_trace(model);
        model
            .submit(finishing.routed(std::mem::take(self).into_request(sender)))
            .map_err(|rejected| rejected.error)?;
        let outcome = Waiting::new(receiver, model).await;
        note_end(trace.as_deref());
        let mut response = outcome?;
        let stored = finishing.finish(&mut response, model, &api.limits).await?;
        Ok((response, stored))
    }

    /// Has a model answer it, in its own number of parts.
    ///
    /// # Errors
    /// If there is no such version, the request does not suit the model, or the model's queue is
    /// full.
    pub(super) async fn start(
        mut self,
        api: Admitted<'_>,
        version: Option<u64>,
    ) -> Result<Answers> {
        let lease = api.resolve(version)?;
        let finishing = self.prepare(&api, lease.config()).await?;
        let (sender, stream) = if lease.config().decoupled {
            response_stream(api.limits.unread_responses)
        } else {
            let (sender, receiver) = response_channel();
            (sender, receiver.into())
        };
        let trace = self.identified_trace(&lease);
        lease
            .submit(finishing.routed(self.into_request(sender)))
            .map_err(|rejected| rejected.error)?;
        Ok(Answers {
            stream: Some(stream),
            finishing,
            trace,
            lease,
            _permit: api.into_permit(),
        })
    }

    /// Its trace, if it is traced, with what it is a trace of.
    fn identified_trace(&self, model: &Model) -> Option<Arc<Trace>> {
        let trace = self.trace.as_ref()?;
        trace.identify(model.name(), model.version(), &self.id);
        Some(Arc::clone(trace))
    }

    /// Takes header fields in, reads what is in shared memory, and finds out what is to be done to
    /// each response.
    async fn prepare(&mut self, api: &Admitted<'_>, model: &ModelConfig) -> Result<Finishing> {
        self.options.forward(api.forwarded(), &api.limits)?;
        let classification = std::mem::take(&mut self.classification);
        classification.check(self.outputs.as_deref().unwrap_or_default(), model)?;
        self.shared.refuse_classes(&classification)?;
        let destinations = self.attach(api).await?;
        let is_idle = classification == Classification::default() && destinations.is_empty();
        Ok(Finishing {
            classification,
            destinations,
            output_count: self.outputs.as_ref().map(Vec::len).filter(|_| !is_idle),
        })
    }
}

/// The parts of one answer. Dropping it cancels the request.
#[derive(Debug)]
pub(super) struct Answers {
    /// `None` once it has been read to its end.
    stream: Option<ResponseStream>,
    finishing: Finishing,
    trace: Option<Arc<Trace>>,
    /// Both given back when nothing is left to be written.
    lease: Lease,
    _permit: Permit,
}

/// One step of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// A response, or what went wrong in its place; `None` if there is only an end to tell.
    pub(super) outcome: Option<Result<(Response, StoredOutputs)>>,
    /// Whether no other step follows.
    pub(super) last: bool,
}

impl Answers {
    /// The model that answers.
    pub(super) fn model(&self) -> &Model {
        &self.lease
    }

    /// The next step; after the last one, an end.
    pub(super) async fn next(&mut self, limits: &Limits) -> Answer {
        let part = match &mut self.stream {
            Some(stream) => stream.next().await,
            None => None,
        };
        let Part { outcome, last } = part.unwrap_or(Part {
            outcome: None,
            last: true,
        });
        if last {
            self.stream = None;
            note_end(self.trace.as_deref());
        }
        let outcome = match outcome {
            Some(Ok(mut response)) => {
                let finished = self.finishing.finish(&mut response, &self.lease, limits);
                Some(finished.await.map(|stored| (response, stored)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        Answer { outcome, last }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop(stream);
            self.lease.withdrawn();
        }
    }
}

/// Waits for the only response of a model. Dropping it before withdraws the request.
struct Waiting<'m> {
    /// `None` once it has answered.
    receiver: Option<ResponseReceiver>,
    model: &'m Model,
}

impl<'m> Waiting<'m> {
    fn new(receiver: ResponseReceiver, model: &'m Model) -> Self {
        Self {
            receiver: Some(receiver),
            model,
        }
    }
}

impl Future for Waiting<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(receiver) = &mut self.receiver else {
            return Poll::Pending;
        };
        let outcome = ready!(Pin::new(receiver).poll(context));
        self.receiver = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Before anybody looks for it, it must be seen to be cancelled.
        if let Some(receiver) = self.receiver.take() {
            drop(receiver);
            self.model.withdrawn();
        }
    }
}

fn note_end(trace: Option<&Trace>) {
    if let Some(trace) = trace {
        trace.at(Stage::RequestEnd, Instant::now());
    }
}

/// What is done to a response before it is written.
#[derive(Debug)]
struct Finishing {
    classification: Classification,
    destinations: Destinations,
    /// How many outputs there must be for these to find theirs, if they have any.
    output_count: Option<usize>,
}

impl Finishing {
    /// The request, with the memory of devices that outputs go to.
    fn routed(&self, mut request: Request) -> Request {
        request.destinations.extend(self.destinations.on_devices());
        request
    }

    async fn finish(
        &self,
        response: &mut Response,
        model: &Model,
        limits: &Limits,
    ) -> Result<StoredOutputs> {
        let count = response.outputs.len();
        if self.output_count.is_some_and(|wanted| wanted != count) {
            return Err(Error::internal(
                "output_left_out",
                format!(
                    "the model gave {count} of the listed outputs; with classification or shared \
                     memory it must give all"
                ),
            ));
        }
        self.classification.apply(response, model, limits)?;
        if self.destinations.is_empty() {
            return Ok(StoredOutputs::default());
        }
        // On the heap, for it would make the future of every other request larger.
        Box::pin(self.destinations.store(response)).await
    }
}
