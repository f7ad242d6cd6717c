//! One request of a stream: from its message to the messages that answer it.

use std::{future::Future, pin::Pin};

use bytes::Bytes;

use super::{
    encoding,
    infer::{read, write},
    unary::{Envelope, decode, encode, encode_plain},
};
use crate::{
    admission::{Charge, Verb},
    api::{
        admit::Caller,
        answers::{Answer, Answers},
        body::Chunks,
        compression::{Encoding, Level},
        parse_version, status,
        trace::{self, Watched},
    },
    error::{Error, Result},
    proto::inference::{self as pb, infer_parameter::ParameterChoice},
};

/// The parameter that tells clients which response is a request's last.
const FINAL_RESPONSE: &str = "triton_final_response";

/// A request that is being answered. Dropping it cancels the request.
#[derive(Debug)]
pub(super) struct Exchange {
    request: Heading,
    answers: Answers,
    /// Whether the client is told of an end that comes without a response.
    tells_empty_end: bool,
    /// Bytes of the request.
    byte_size: usize,
    /// How responses are compressed, if they are.
    packing: Option<(Encoding, Level)>,
    watched: Watched,
    /// Holds the request's bytes.
    charge: Charge,
}

/// What of a request goes back with what is not a response of its model.
#[derive(Debug)]
struct Heading {
    id: String,
    model: String,
    version: String,
}

/// A request that was not begun.
#[derive(Debug)]
pub(super) struct Refused {
    id: String,
    error: Error,
}

/// A request on its way to its model. An error is no request, so that nobody can be told whose.
pub(super) type Beginning = Pin<Box<dyn Future<Output = Result<Begun>> + Send>>;

/// What becomes of a request.
pub(super) type Begun = Result<Exchange, Refused>;

/// The next step of an answer on its way.
pub(super) type Next = Pin<Box<dyn Future<Output = Step> + Send>>;

/// One step of an answer.
pub(super) struct Step {
    pub(super) exchange: Exchange,
    /// What is written for it, if anything is, or the failure that it tells of.
    pub(super) reply: Result<Option<Chunks>>,
    /// Whether no other step follows.
    pub(super) last: bool,
}

/// How the messages of a stream are encoded, those that are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encodings {
    /// The client's.
    pub(super) requests: Option<Encoding>,
    /// Its answers'.
    pub(super) responses: Option<(Encoding, Level)>,
}

impl Exchange {
    /// Has a model answer a message, which may be compressed.
    pub(super) fn begin(
        caller: Caller,
        is_compressed: bool,
        message: Bytes,
        encodings: Encodings,
        mut charge: Charge,
    ) -> Beginning {
        Box::pin(async move {
            let mut watched = Watched::new(&trace::GRPC, &caller);
            let message = encoding::unpack(
                is_compressed,
                message,
                encodings.requests,
                &caller,
                &mut charge,
            )
            .await?;
            let byte_size = message.len();
            let message = decode(message, &caller.limits, &mut charge)?;
            let request = Heading {
                id: message.id.clone(),
                model: message.model_name.clone(),
                version: message.model_version.clone(),
            };
            Ok(match start(&caller, message, &mut watched).await {
                Ok((answers, tells_empty_end)) => Ok(Self {
                    request,
                    answers,
                    tells_empty_end,
                    byte_size,
                    packing: encodings.responses,
                    watched,
                    charge,
                }),
                Err(error) => Err(Refused {
                    id: request.id,
                    error,
                }),
            })
        })
    }

    /// Whether it may have any number of responses.
    pub(super) fn is_decoupled(&self) -> bool {
        self.answers.model().config().decoupled
    }

    /// Bytes of the request.
    pub(super) fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Waits for the next step.
    pub(super) fn next(mut self, caller: Caller) -> Next {
        Box::pin(async move {
            let answer = self.answers.next(&caller.limits).await;
            let last = answer.last;
            let mut reply = self.reply(answer, caller.limits.response_byte_size);
            if let (Ok(Some(message)), Some(packing)) = (&mut reply, self.packing) {
                let message = std::mem::take(message);
                let packed = encoding::pack(message, packing, &caller.compressions).await;
                reply = packed.map(|packed| Some(packed.chunks));
            }
            reply = reply.and_then(|message| self.hold(message));
            if let Ok(Some(message)) = &mut reply {
                self.watched.send(message);
            }
            Step {
                exchange: self,
                reply,
                last,
            }
        })
    }

    /// Has a message hold its bytes until it is written.
    fn hold(&self, mut message: Option<Chunks>) -> Result<Option<Chunks>> {
        if let Some(message) = &mut message {
            message.hold(self.charge.another())?;
        }
        Ok(message)
    }

    fn reply(&self, answer: Answer, limit: usize) -> Result<Option<Chunks>> {
        let Some(outcome) = answer.outcome else {
            let end = || encode_plain(&self.request.response(true));
            return self.tells_empty_end.then(end).transpose();
        };
        let (response, stored) = outcome?;
        let (id, model) = (self.request.id.clone(), self.answers.model());
        let mut message = write(id, model.name(), model.version(), response, &stored)?;
        mark(&mut message, answer.last);
        encode(message, limit, Envelope::Stream).map(Some)
    }

    /// What is written for a failure, `last` if the answer ends with it.
    pub(super) fn fault(&self, error: &Error, last: bool) -> Result<Chunks> {
        encode_plain(&pb::ModelStreamInferResponse {
            error_message: status::grpc(error).message().to_owned(),
            ..self.request.response(last)
        })
    }
}

impl Heading {
    fn response(&self, last: bool) -> pb::ModelStreamInferResponse {
        let mut message = pb::ModelInferResponse {
            id: self.id.clone(),
            model_name: self.model.clone(),
            model_version: self.version.clone(),
            ..pb::ModelInferResponse::default()
        };
        mark(&mut message, last);
        pb::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(message),
        }
    }
}

impl Refused {
    /// What is written for it.
    pub(super) fn fault(self) -> Result<Chunks> {
        encode_plain(&pb::ModelStreamInferResponse {
            error_message: status::grpc(&self.error).message().to_owned(),
            infer_response: Some(pb::ModelInferResponse {
                id: self.id,
                ..pb::ModelInferResponse::default()
            }),
        })
    }
}

async fn start(
    caller: &Caller,
    mut message: pb::ModelInferRequest,
    watched: &mut Watched,
) -> Result<(Answers, bool)> {
    let model = std::mem::take(&mut message.model_name);
    let api = caller.admit(Verb::Infer, &model)?;
    let version = parse_version(&message.model_version)?;
    watched.begin(&api);
    watched.received();
    let mut request = read(message, &model, &api.limits)?;
    request.trace = watched.trace();
    let tells_empty_end = request.options.empty_final_response;
    Ok((request.start(api, version).await?, tells_empty_end))
}

fn mark(message: &mut pb::ModelInferResponse, last: bool) {
    let parameter_choice = Some(ParameterChoice::BoolParam(last));
    let value = pb::InferParameter { parameter_choice };
    message.parameters.insert(FINAL_RESPONSE.to_owned(), value);
}
