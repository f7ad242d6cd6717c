//! `ModelStreamInfer`: many requests on one stream, answered as Triton answers them: one after the
//! other for models with one response to a request, as they come for decoupled ones.
//!
//! The stream is the body of its own answer: it reads requests, and looks for responses, when the
//! transport asks it for something to send. A client that does not take its responses is not read
//! either, and one that goes away takes everything with it: there is no task and no queue beside.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use hyper::{
    HeaderMap,
    body::{Body as HttpBody, Frame},
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, body::Body};

use super::{
    encoding,
    exchange::{Beginning, Begun, Encodings, Exchange, Next, Refused, Step},
    frames::Frames,
    service::{log_call, started},
    unary::{deadline_exceeded, malformed, refused, time_limit},
};
use crate::{
    admission::Verb,
    api::{
        admit::Caller,
        body::{BoxError, Chunks},
    },
    error::{Error, Result},
};

/// The method's path.
pub(super) const MODEL_STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// With this header a failure ends the stream with its own status, instead of being written on it.
const GRPC_ERROR: &str = "triton_grpc_error";

/// Opens a stream. Dropping its body cancels everything on it.
pub(super) fn model_stream_infer<B>(
    caller: Caller,
    request: http::Request<B>,
) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let headers = request.headers();
    let allowed = caller.check(Verb::Infer);
    let encodings = match allowed.and_then(|()| encoding::of_request(headers)) {
        Ok(requests) => Encodings {
            requests,
            responses: encoding::wanted(headers, caller.grpc_compression),
        },
        Err(error) => {
            let status = refused(&error);
            log_call("ModelStreamInfer", started(), Some(&status));
            return status.into_http();
        }
    };
    let stream = Conversation::new(caller, encodings, request);
    let mut response = http::Response::new(Body::new(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some((encoding, _)) = encodings.responses {
        let name = HeaderValue::from_static(encoding.name());
        headers.insert(encoding::ENCODING, name);
    }
    response
}

type Timer = Pin<Box<Sleep>>;

/// One stream.
struct Conversation<B> {
    caller: Caller,
    encodings: Encodings,
    /// `None` once nothing more is read.
    incoming: Option<B>,
    frames: Frames,
    /// How many requests were read.
    messages: usize,
    /// The request that was read last, on its way to its model.
    beginning: Option<Beginning>,
    /// Requests whose answers leave in their order.
    ordered: VecDeque<Ordered>,
    /// Requests to decoupled models.
    decoupled: FuturesUnordered<Next>,
    /// Whose turn it is to be looked at first.
    decoupled_first: bool,
    /// Requests on this stream that have not been answered to their end, and their bytes.
    in_flight: usize,
    byte_size: usize,
    /// The message that is being sent.
    outgoing: Chunks,
    /// How the stream ends, once that is known.
    ending: Option<Status>,
    ended: bool,
    /// The end if nothing else happens.
    farewell: Result<()>,
    fails_whole: bool,
    deadline: Option<Timer>,
    /// Runs while a message has arrived only in part.
    stall: Option<Timer>,
    exiting: Pin<Box<dyn Future<Output = ()> + Send>>,
    started: Option<Instant>,
}

enum Ordered {
    Begun(Next),
    Refused(Box<Refused>),
}

impl<B> Conversation<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn new(caller: Caller, encodings: Encodings, request: http::Request<B>) -> Self {
        let headers = request.headers();
        let fails_whole = headers
            .get(GRPC_ERROR)
            .is_some_and(|value| value.as_bytes() == b"true");
        let deadline = time_limit(headers).map(|limit| Box::pin(sleep(limit)));
        let readiness = Arc::clone(&caller.readiness);
        Self {
            frames: Frames::new(caller.limits.request_byte_size, caller.budget.charge()),
            caller,
            encodings,
            incoming: Some(request.into_body()),
            messages: 0,
            beginning: None,
            ordered: VecDeque::new(),
            decoupled: FuturesUnordered::new(),
            decoupled_first: false,
            in_flight: 0,
            byte_size: 0,
            outgoing: Chunks::default(),
            ending: None,
            ended: false,
            farewell: Ok(()),
            fails_whole,
            deadline,
            stall: None,
            exiting: Box::pin(async move { readiness.exiting().await }),
            started: started(),
        }
    }

    /// Takes one step: reads or answers a request, or ends the stream. Afterwards there may be
    /// something to send.
    fn step(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.end(&Err(deadline_exceeded()));
            return Poll::Ready(());
        }
        let read = self.read(context);
        if self.ending.is_some() || self.answer(context).is_ready() || read.is_ready() {
            return Poll::Ready(());
        }
        if self.incoming.is_none() && self.in_flight == 0 {
            let farewell = std::mem::replace(&mut self.farewell, Ok(()));
            self.end(&farewell);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Reads one request, if there is room for one, once the one before it is with its model.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(beginning) = &mut self.beginning {
            let begun = ready!(beginning.as_mut().poll(context));
            self.beginning = None;
            match begun {
                Ok(begun) => self.begun(begun),
                Err(error) => self.end(&Err(error)),
            }
            return Poll::Ready(());
        }
        if self.incoming.is_none() {
            return Poll::Pending;
        }
        if self.exiting.as_mut().poll(context).is_ready() {
            self.incoming = None;
            self.farewell = Err(shutting_down());
            return Poll::Ready(());
        }
        let limits = &self.caller.limits;
        if self.in_flight >= limits.requests_per_stream.max(1)
            || (self.in_flight > 0 && self.byte_size >= limits.stream_byte_size)
        {
            return Poll::Pending;
        }
        match ready!(self.message(context)) {
            Ok(Some(_)) if self.messages >= self.caller.limits.messages_per_stream => {
                self.incoming = None;
                self.farewell = Err(too_many_messages(self.messages));
            }
            Ok(Some((is_compressed, message))) => {
                self.messages += 1;
                let (caller, encodings) = (self.caller.clone(), self.encodings);
                let charge = self.frames.charge();
                let beginning = Exchange::begin(caller, is_compressed, message, encodings, charge);
                self.beginning = Some(beginning);
                self.in_flight += 1;
            }
            Ok(None) => self.incoming = None,
            Err(error) => self.end(&Err(error)),
        }
        Poll::Ready(())
    }

    /// The next message, and whether it is compressed; `None` when the client has sent its last.
    fn message(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<(bool, Bytes)>>> {
        loop {
            if let Some(message) = self.frames.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(Ok(None));
            };
            let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) else {
                return self.wait_for_the_rest(context);
            };
            self.stall = None;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.frames.push(data);
                    }
                }
                Some(Err(error)) => {
                    let broken = "the request stream ended early";
                    return Poll::Ready(Err(
                        Error::cancelled("body_broken", broken).with_source(error)
                    ));
                }
                None if self.frames.is_partial() => {
                    let cut = "the stream ended within a message";
                    return Poll::Ready(Err(malformed(cut)));
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// An idle stream may be idle for ever, but not within a message.
    fn wait_for_the_rest<T>(&mut self, context: &mut Context<'_>) -> Poll<Result<T>> {
        if !self.frames.is_partial() {
            return Poll::Pending;
        }
        let patience = Duration::from_secs(self.caller.limits.body_timeout_seconds);
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(Error::cancelled(
            "body_stalled",
            format!(
                "the request message stopped arriving {} s ago",
                patience.as_secs()
            ),
        )))
    }

    fn begun(&mut self, begun: Begun) {
        match begun {
            Ok(exchange) => {
                self.byte_size += exchange.byte_size();
                let is_decoupled = exchange.is_decoupled();
                let next = exchange.next(self.caller.clone());
                if is_decoupled {
                    self.decoupled.push(next);
                } else {
                    self.ordered.push_back(Ordered::Begun(next));
                }
            }
            Err(refused) => self.ordered.push_back(Ordered::Refused(Box::new(refused))),
        }
    }

    /// Writes one step of an answer, if one is there.
    fn answer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.decoupled_first = !self.decoupled_first;
        if self.decoupled_first {
            if self.answer_decoupled(context).is_ready() {
                return Poll::Ready(());
            }
            return self.answer_ordered(context);
        }
        if self.answer_ordered(context).is_ready() {
            return Poll::Ready(());
        }
        self.answer_decoupled(context)
    }

    fn answer_ordered(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let answered = match self.ordered.front_mut() {
            None => return Poll::Pending,
            Some(Ordered::Begun(next)) => Some(ready!(next.as_mut().poll(context))),
            Some(Ordered::Refused(_)) => None,
        };
        let first = self.ordered.pop_front();
        if let Some(step) = answered {
            if let Some(next) = self.write(step) {
                self.ordered.push_front(Ordered::Begun(next));
            }
        } else if let Some(Ordered::Refused(refused)) = first {
            self.in_flight -= 1;
            self.send(refused.fault());
        }
        Poll::Ready(())
    }

    fn answer_decoupled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // An empty set says that it has ended, which is nothing to act on.
        let next = Pin::new(&mut self.decoupled).poll_next(context);
        let Poll::Ready(Some(step)) = next else {
            return Poll::Pending;
        };
        if let Some(next) = self.write(step) {
            self.decoupled.push(next);
        }
        Poll::Ready(())
    }

    /// Writes a step of an answer. Returns what is waited for next, unless that was the last.
    fn write(&mut self, step: Step) -> Option<Next> {
        let Step {
            exchange,
            reply,
            last,
        } = step;
        match reply {
            Ok(None) => {}
            Ok(Some(message)) => self.send(Ok(message)),
            Err(error) if self.fails_whole => self.end(&Err(error)),
            Err(error) => self.send(exchange.fault(&error, last)),
        }
        if self.ending.is_some() {
            return None;
        }
        if !last {
            return Some(exchange.next(self.caller.clone()));
        }
        self.in_flight -= 1;
        self.byte_size -= exchange.byte_size();
        None
    }

    fn send(&mut self, message: Result<Chunks>) {
        match message {
            Ok(message) => self.outgoing = message,
            Err(error) => self.end(&Err(error)),
        }
    }

    /// Ends the stream. What is still in flight is cancelled.
    fn end(&mut self, result: &Result<()>) {
        self.incoming = None;
        self.beginning = None;
        self.ordered.clear();
        self.decoupled = FuturesUnordered::new();
        (self.in_flight, self.byte_size) = (0, 0);
        let status = match result {
            Ok(()) => Status::new(Code::Ok, ""),
            Err(error) => refused(error),
        };
        let failure = result.is_err().then_some(&status);
        log_call("ModelStreamInfer", self.started, failure);
        self.ending = Some(status);
    }
}

impl<B> HttpBody for Conversation<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(frame) = ready!(Pin::new(&mut self.outgoing).poll_frame(context)) {
                return Poll::Ready(Some(frame));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(status) = &self.ending {
                let trailers = trailers(status);
                self.ended = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            ready!(self.step(context));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    if status.add_header(&mut trailers).is_err() {
        // A message that no header can hold.
        let internal = HeaderValue::from(Code::Internal as i32);
        trailers.insert(Status::GRPC_STATUS, internal);
    }
    trailers
}

fn too_many_messages(limit: usize) -> Error {
    Error::resource_exhausted(
        "messages_per_stream",
        format!("the stream has carried {limit} requests, which is the limit; open another"),
    )
}

fn shutting_down() -> Error {
    Error::unavailable(
        "exiting",
        "GRPC server is shutting down and has stopped accepting new requests.",
    )
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
