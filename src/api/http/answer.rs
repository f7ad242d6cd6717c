//! Answers: status, content type and body.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{
        ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};

use super::{generate::Events, json_response::push_string};
use crate::{
    api::{body::Chunks, compression::Encoding, status},
    error::{Error, ErrorKind},
};

/// Bytes of the JSON part of a body that also holds binary tensors.
pub(super) const JSON_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// When a client that was turned away because of others may come back. Queues and memory in flight
/// empty within milliseconds, and this is the least that can be said.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The reason of an error about a request in a content encoding that is not supported.
pub(super) const ENCODING: &str = "content_encoding";

/// An answer's body.
pub(super) enum Reply {
    /// Whole.
    Whole(Chunks),
    /// Event by event, while the model answers.
    Events(Events),
}

impl Reply {
    /// Bytes that are still to be sent, if that is known.
    pub(super) fn byte_size(&self) -> Option<u64> {
        match self {
            Self::Whole(chunks) => Some(chunks.byte_size()),
            Self::Events(_) => None,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(chunks) => Pin::new(chunks).poll_frame(context),
            Self::Events(events) => Pin::new(events).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(chunks) => chunks.is_end_stream(),
            Self::Events(events) => events.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(chunks) => chunks.size_hint(),
            Self::Events(events) => events.size_hint(),
        }
    }
}

/// A status without a body.
pub(super) fn empty(status: StatusCode) -> Response<Chunks> {
    let mut response = Response::new(Chunks::default());
    *response.status_mut() = status;
    response
}

/// A JSON document.
pub(super) fn json(text: impl Into<Bytes>) -> Response<Chunks> {
    let mut response = Response::new(Chunks::from(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// JSON followed by binary tensors; only JSON if those have no bytes.
pub(super) fn tensors(
    header: Vec<u8>,
    tensors: impl IntoIterator<Item = Bytes>,
) -> Response<Chunks> {
    let json_byte_size = header.len();
    let body = Chunks::new(std::iter::once(Bytes::from(header)).chain(tensors));
    let is_json = usize::try_from(body.byte_size()) == Ok(json_byte_size);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if is_json {
        headers.insert(CONTENT_TYPE, JSON);
    } else {
        headers.insert(CONTENT_TYPE, BINARY);
        headers.insert(JSON_LENGTH, HeaderValue::from(json_byte_size));
    }
    response
}

/// `{"error": message}` under `status`.
pub(super) fn fault(status: StatusCode, message: &str) -> Response<Chunks> {
    let mut text = Vec::with_capacity(message.len() + 16);
    text.extend_from_slice(b"{\"error\":");
    push_string(&mut text, message);
    text.push(b'}');
    let mut response = json(text);
    *response.status_mut() = status;
    response
}

/// The answer to a method that a path does not know; `allowed` are those that it knows.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Chunks> {
    let mut response = fault(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// The answer to a request that failed.
pub(in crate::api) fn error(error: &Error) -> Response<Chunks> {
    let mut response = fault(status::http(error), error.message());
    if error.reason() == ENCODING {
        let names = HeaderValue::from_static(Encoding::NAMES);
        response.headers_mut().insert(ACCEPT_ENCODING, names);
    }
    if error.kind() == ErrorKind::Unauthenticated {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    if let Some(wait) = error.retry_after() {
        // Whole seconds, and not before the time.
        let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    } else if response.status() == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}
