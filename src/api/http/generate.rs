//! `POST .../generate` and `POST .../generate_stream`: plain JSON in, plain JSON out, once or as
//! server-sent events.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
};

use super::{
    answer::{self, Reply},
    generate_json::parse_generate_request,
    generate_object::write,
    json::parsed_byte_size,
    json_response::push_string,
};
use crate::{
    admission::Charge,
    api::{
        admit::{Admitted, Caller},
        answers::{Answer, Answers},
        body::{self, Chunks},
        request::json_too_large,
        status::{self, TOO_LARGE},
        trace::{self, Watched},
    },
    error::{Error, Result},
    inference,
};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// Answers with the only response. Dropping the future cancels the request.
pub(super) async fn whole(
    caller: &Caller,
    api: Admitted<'_>,
    version: Option<u64>,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    let mut conversation = Conversation::begin(caller, api, version, headers, body).await?;
    let mut only = None;
    loop {
        let answer = conversation.answers.next(&caller.limits).await;
        if let Some(outcome) = answer.outcome {
            let (response, _) = outcome?;
            if only.replace(response).is_some() {
                return Err(not_one_response());
            }
        }
        if answer.last {
            break;
        }
    }
    let response = only.ok_or_else(not_one_response)?;
    let mut answer = answer::json(conversation.write(&response)?);
    answer.body_mut().hold(conversation.charge)?;
    conversation.watched.send(answer.body_mut());
    Ok(answer)
}

/// Answers with an event for each response, as they come. The first one decides the status. Dropping
/// the body cancels the request.
pub(super) async fn stream(
    caller: &Caller,
    api: Admitted<'_>,
    version: Option<u64>,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Reply>> {
    let mut conversation = Conversation::begin(caller, api, version, headers, body).await?;
    let first = conversation.answers.next(&caller.limits).await;
    let status = match &first.outcome {
        Some(Err(error)) => status::http(error),
        Some(Ok(_)) | None => StatusCode::OK,
    };
    let first: Waiting = Box::pin(std::future::ready((conversation, first)));
    let mut response = Response::new(Reply::Events(Events { next: Some(first) }));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, EVENTS);
    Ok(response)
}

/// A request that is being answered.
struct Conversation {
    watched: Watched,
    id: String,
    answers: Answers,
    caller: Caller,
    /// Holds the request's bytes.
    charge: Charge,
}

/// The next step of an answer on its way, with its conversation.
type Waiting = Pin<Box<dyn Future<Output = (Conversation, Answer)> + Send>>;

impl Conversation {
    async fn begin(
        caller: &Caller,
        api: Admitted<'_>,
        version: Option<u64>,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Self> {
        refuse_encodings(headers)?;
        // As for inference: an unknown model costs nothing, a slow client holds no lease.
        drop(api.resolve(version)?);
        let mut watched = Watched::new(&trace::HTTP, &api);
        watched.begin(&api);
        let limit = api.limits.json_byte_size;
        let mut charge = api.budget.charge();
        let announced = body.size_hint().exact();
        let read = body::read(body, limit, &api.patience(), &mut charge).await;
        let text = read.map_err(|error| too_large(error, announced, limit))?;
        watched.received();
        charge.grow(parsed_byte_size(text.len()))?;
        let mut request = {
            let lease = api.resolve(version)?;
            parse_generate_request(&text, lease.config(), &api.limits)?
        };
        request.trace = watched.trace();
        Ok(Self {
            watched,
            id: request.id.clone(),
            answers: request.start(api, version).await?,
            caller: caller.clone(),
            charge,
        })
    }

    fn write(&self, response: &inference::Response) -> Result<Vec<u8>> {
        let limit = self.caller.limits.response_byte_size;
        write(&self.id, self.answers.model(), response, limit)
    }

    fn wait(mut self) -> Waiting {
        Box::pin(async move {
            let answer = self.answers.next(&self.caller.limits).await;
            (self, answer)
        })
    }

    /// The event of a step, if there is one.
    fn event(&self, answer: Answer) -> Option<Bytes> {
        let written = answer
            .outcome?
            .and_then(|(response, _)| self.write(&response));
        let mut event = Vec::from(b"data: ");
        match written {
            Ok(object) => event.extend(object),
            Err(error) => {
                event.extend_from_slice(b"{\"error\":");
                push_string(&mut event, error.message());
                event.push(b'}');
            }
        }
        event.extend_from_slice(b"\n\n");
        Some(event.into())
    }
}

/// An answer's body: an event for each response.
pub(super) struct Events {
    /// `None` after the last one.
    next: Option<Waiting>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(next) = &mut self.next {
            let (conversation, answer) = ready!(next.as_mut().poll(context));
            let is_last = answer.last;
            let event = conversation.event(answer);
            self.next = (!is_last).then(|| conversation.wait());
            if let Some(event) = event {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}

fn refuse_encodings(headers: &HeaderMap) -> Result<()> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.is_empty() && encoding != "identity" => {
            Err(Error::invalid_argument(
                "content_encoding",
                "Unsupported content-encoding, only 'identity' is supported.",
            ))
        }
        _ => Ok(()),
    }
}

/// The words that Triton's clients know for a request that is too large.
fn too_large(error: Error, announced: Option<u64>, limit: usize) -> Error {
    match announced {
        _ if error.reason() != TOO_LARGE => error,
        Some(byte_size) => json_too_large(&byte_size, limit),
        None => json_too_large(&format_args!("more than {limit}"), limit),
    }
}

fn not_one_response() -> Error {
    Error::internal(
        "not_one_response",
        "generate expects model to produce exactly 1 response, use generate stream for model that \
         generates various number of responses",
    )
}
