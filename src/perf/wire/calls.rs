//! One stream of HTTP/2 as gRPC uses it: messages with their length in front, and an end.

use prost::Message as _;

use super::{Answer, Outcome, Ticket, hpack::Trailers};
use crate::proto::inference::{
    ModelInferResponse, ModelStreamInferResponse, infer_parameter::ParameterChoice,
};

/// What is in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Bytes that the server may still be sent on it.
    pub(super) window: i64,
    /// Bytes received since its window was last given back.
    pub(super) received: u32,
    /// Whether its messages are answers in themselves.
    streaming: bool,
    request: Option<Request>,
    /// What was received of messages that are not done with.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Request {
    ticket: Ticket,
    decoupled: bool,
    keep: bool,
    /// The answer, if it came in earlier messages than the last.
    answer: Option<Vec<u8>>,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum Ending {
    Trailers(Trailers),
    /// With this code.
    Reset(u32),
    /// Without a word of how the call went.
    Silent,
}

impl Trailers {
    /// Those of a call that went well.
    pub(super) fn good() -> Self {
        Self {
            status: Some(0),
            message: String::new(),
        }
    }
}

impl Stream {
    pub(super) fn new(id: u32, streaming: bool, window: i64) -> Self {
        Self {
            id,
            window,
            received: 0,
            streaming,
            request: None,
            body: Vec::new(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.request.is_none()
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.request.as_ref().map(|request| request.ticket)
    }

    pub(super) fn begin(&mut self, ticket: Ticket, decoupled: bool, keep: bool) {
        self.request = Some(Request {
            ticket,
            decoupled,
            keep,
            answer: None,
        });
    }

    pub(super) fn receive(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) {
        let keep = self.request.as_ref().is_some_and(|request| request.keep);
        if self.streaming || keep {
            self.body.extend_from_slice(bytes);
        }
        while self.streaming
            && let Some(message) = message(&self.body)
        {
            let end = PREFIX + message.len();
            let message = message.to_vec();
            self.body.drain(..end);
            self.receive_message(message, answers);
        }
    }

    /// A message of a stream that stays open.
    fn receive_message(&mut self, message: Vec<u8>, answers: &mut Vec<Answer>) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        let failure = message.first() == Some(&0x0a);
        let outcome = match (failure, request.decoupled, request.keep) {
            (false, false, false) => Outcome::Done(None),
            _ => match ModelStreamInferResponse::decode(&message[..]) {
                Err(error) => Outcome::Failed(format!("the answer is no message: {error}")),
                Ok(message) if !message.error_message.is_empty() => {
                    Outcome::Failed(message.error_message)
                }
                Ok(message) => {
                    let response = message.infer_response.unwrap_or_default();
                    let last = !request.decoupled || is_final(&response);
                    if request.keep && !response.outputs.is_empty() {
                        request.answer.get_or_insert(response.encode_to_vec());
                    }
                    if !last {
                        self.request = Some(request);
                        return;
                    }
                    match request.answer.filter(|_| request.keep) {
                        Some(answer) => Outcome::kept(answer),
                        None => Outcome::Done(None),
                    }
                }
            },
        };
        answers.push(Answer {
            ticket: request.ticket,
            outcome,
        });
    }

    /// Answers the request that is under way with how the stream ended.
    pub(super) fn end(self, ending: Ending, answers: &mut Vec<Answer>) {
        let Some(request) = self.request else {
            return;
        };
        let outcome = match ending {
            Ending::Trailers(trailers) if trailers.status == Some(0) && !self.streaming => {
                match message(&self.body).filter(|_| request.keep) {
                    Some(message) => Outcome::kept(message.to_vec()),
                    None => Outcome::Done(None),
                }
            }
            Ending::Trailers(trailers) => Outcome::Failed(match trailers.status {
                Some(status) => format!("gRPC status {status}: {}", trailers.message),
                None => "the server answered without a gRPC status".to_owned(),
            }),
            Ending::Reset(code) => Outcome::Failed(format!("stream reset with code {code}")),
            Ending::Silent => Outcome::Failed("the stream ended without trailers".to_owned()),
        };
        answers.push(Answer {
            ticket: request.ticket,
            outcome,
        });
    }
}

/// The first message, if it is all there.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = body.split_at_checked(PREFIX)?;
    let length = prefix.get(1..)?.iter();
    let length = length.fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
    rest.get(..length)
}

/// Whether a response says that no other follows.
fn is_final(response: &ModelInferResponse) -> bool {
    let parameter = response.parameters.get("triton_final_response");
    let choice = parameter.and_then(|parameter| parameter.parameter_choice.as_ref());
    matches!(choice, Some(ParameterChoice::BoolParam(true)))
}
