//! `ModelInfer` on the wire. The generated service would take memory for as much as a message
//! claims to have, copy every frame on the way in and every tensor on the way out; here memory
//! grows with what arrives, a message in one frame is used where it is, and large tensors are sent
//! from where they are.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::{
    HeaderMap,
    body::{Body as HttpBody, Frame},
    header::{CONTENT_TYPE, HeaderValue},
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use smallvec::SmallVec;
use tokio::time::timeout;
use tonic::{Status, body::Body, metadata::MetadataValue};

use super::{
    encoding::{self, Answer},
    infer,
    scan::check_counts,
    service::{log_call, started},
};
use crate::{
    admission::{Charge, Limits, Verb},
    api::{
        Api,
        admit::Caller,
        body::{BoxError, Chunks, answer_within, read_announced},
        status,
        trace::{self, Watched},
    },
    error::{Error, Result},
    proto::inference as pb,
};

/// The method's path.
pub(super) const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// In front of each message: whether it is compressed (one byte) and its length (four, big-endian).
pub(super) const PREFIX_BYTE_SIZE: usize = 5;
/// The largest message that gRPC clients can take.
pub(super) const RESPONSE_BYTE_SIZE: usize = 0x7fff_ffff;
/// The number of `raw_output_contents` in `ModelInferResponse`, its last field.
const RAW_OUTPUT_CONTENTS: u32 = 6;
/// The number of `infer_response` in `ModelStreamInferResponse`.
const INFER_RESPONSE: u32 = 2;
/// Tensors below this are copied into the message: that is cheaper than a frame of their own.
const COPY_BYTE_SIZE: usize = 4096;

/// Answers one call, within the time that the client gives it. Dropping the future cancels the
/// inference.
pub(super) async fn model_infer<B>(
    caller: Caller,
    request: http::Request<B>,
) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (parts, body) = request.into_parts();
    let limit = time_limit(&parts.headers);
    let answer = pin!(answer(&caller, &parts.headers, body));
    call("ModelInfer", limit, answer).await
}

/// Answers a call of `method` with what `answer` comes to within the time limit.
pub(super) async fn call(
    method: &str,
    limit: Option<Duration>,
    answer: Pin<&mut impl Future<Output = Result<Answer>>>,
) -> http::Response<Body> {
    let started = started();
    let result = match limit {
        None => answer.await,
        Some(limit) => timeout(limit, answer)
            .await
            .unwrap_or_else(|_| Err(deadline_exceeded())),
    };
    let result = result.map_err(|error| refused(&error));
    log_call(method, started, result.as_ref().err());
    result.map_or_else(Status::into_http, respond)
}

/// The status of a call that failed; with what is supported, if it is about an encoding.
pub(super) fn refused(error: &Error) -> Status {
    let mut status = status::grpc(error);
    if error.reason() == encoding::UNSUPPORTED {
        let accepted = MetadataValue::from_static(encoding::ACCEPTED);
        status
            .metadata_mut()
            .insert(encoding::ACCEPT_ENCODING, accepted);
    }
    status
}

/// The error of a call whose time is up.
pub(super) fn deadline_exceeded() -> Error {
    Error::deadline_exceeded("grpc_timeout", "Deadline Exceeded")
}

/// What `grpc-timeout` says: at most eight digits and a unit. Anything else is ignored, as the
/// client keeps the time itself.
pub(super) fn time_limit(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

async fn answer<B>(caller: &Caller, headers: &HeaderMap, body: B) -> Result<Answer>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    caller.check(Verb::Infer)?;
    let wanted = encoding::wanted(headers, caller.grpc_compression);
    let mut watched = Watched::new(&trace::GRPC, caller);
    let (limits, mut charge) = (&caller.limits, caller.budget.charge());
    let limit = limits.request_byte_size;
    let message = read(caller, headers, body, limit, &mut charge).await?;
    let message = decode(message, limits, &mut charge)?;
    let answer = infer::infer(caller, message, &mut watched).await?;
    let chunks = encode(answer, limits.response_byte_size, Envelope::None)?;
    let mut answer = match wanted {
        None => Answer::plain(chunks),
        // On the heap, for it would make the future of every other call larger.
        Some(packing) => Box::pin(encoding::pack(chunks, packing, &caller.compressions)).await?,
    };
    answer.chunks.hold(charge)?;
    watched.send(&mut answer.chunks);
    Ok(answer)
}

/// The only message of a call's body, which may have `limit` bytes. Memory grows with what arrives.
///
/// # Errors
/// As [`message`] and [`encoding::unpack`].
pub(super) async fn read<B>(
    api: &Api,
    headers: &HeaderMap,
    body: B,
    limit: usize,
    charge: &mut Charge,
) -> Result<Bytes>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let encoding = encoding::of_request(headers)?;
    let most = limit.saturating_add(PREFIX_BYTE_SIZE);
    let body = read_announced(body, most, &api.patience(), charge, announced).await?;
    let (is_compressed, message) = message(body)?;
    encoding::unpack(is_compressed, message, encoding, api, charge).await
}

fn respond(Answer { chunks, encoding }: Answer) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(Reply {
        chunks,
        ended: false,
    }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    if let Some(encoding) = encoding {
        let name = HeaderValue::from_static(encoding.name());
        response.headers_mut().insert(encoding::ENCODING, name);
    }
    response
}

/// The length of the body that begins like this; `None` if that is not yet known.
pub(super) fn announced(start: &[u8]) -> Option<usize> {
    let (prefix, _) = start.split_first_chunk::<PREFIX_BYTE_SIZE>()?;
    let [_, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    Some(length.saturating_add(PREFIX_BYTE_SIZE))
}

/// The request in a message; `charge` holds what its lists of elements become.
///
/// # Errors
/// `InvalidArgument` if it is malformed or goes beyond `limits`; as [`Charge::grow`].
pub fn decode(
    message: Bytes,
    limits: &Limits,
    charge: &mut Charge,
) -> Result<pb::ModelInferRequest> {
    charge.grow(check_counts(&message, limits)?)?;
    pb::ModelInferRequest::decode(message).map_err(|error| malformed(&error.to_string()))
}

/// The only message of a body, and whether it is compressed.
///
/// # Errors
/// `InvalidArgument` for anything but one whole message.
fn message(mut body: Bytes) -> Result<(bool, Bytes)> {
    if announced(&body) != Some(body.len()) {
        return Err(malformed("the body is not one whole message"));
    }
    match body.split_to(PREFIX_BYTE_SIZE).first() {
        Some(0) => Ok((false, body)),
        Some(1) => Ok((true, body)),
        _ => Err(malformed("its first byte is neither 0 nor 1")),
    }
}

pub(super) fn malformed(why: &str) -> Error {
    Error::invalid_argument(
        "malformed_message",
        format!("failed to decode the request message: {why}"),
    )
}

/// What an inference response is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Nothing: it is the message.
    None,
    /// A `ModelStreamInferResponse`.
    Stream,
}

/// A message as it is, with its prefix.
///
/// # Errors
/// `InvalidArgument` if it is larger than gRPC can carry.
pub(super) fn encode_plain(message: &impl Message) -> Result<Chunks> {
    let byte_size = message.encoded_len();
    let length = message_length(byte_size, RESPONSE_BYTE_SIZE)?;
    let mut out = BytesMut::with_capacity(PREFIX_BYTE_SIZE + byte_size);
    out.put_u8(0);
    out.put_u32(length);
    message.encode_raw(&mut out);
    Ok(Chunks::from(out.freeze()))
}

fn message_length(byte_size: usize, limit: usize) -> Result<u32> {
    answer_within(byte_size, limit.min(RESPONSE_BYTE_SIZE))?;
    Ok(u32::try_from(byte_size).unwrap_or(u32::MAX))
}

/// One message with its prefix, large tensors left where they are.
///
/// # Errors
/// `InvalidArgument` if it is larger than `limit`.
pub(super) fn encode(
    mut message: pb::ModelInferResponse,
    limit: usize,
    envelope: Envelope,
) -> Result<Chunks> {
    let tensors = std::mem::take(&mut message.raw_output_contents);
    let byte_size = message.encoded_len() + tensors.iter().map(field_byte_size).sum::<usize>();
    let around = match envelope {
        Envelope::None => 0,
        Envelope::Stream => key_len(INFER_RESPONSE) + encoded_len_varint(as_u64(byte_size)),
    };
    let length = message_length(byte_size.saturating_add(around), limit)?;
    let copied = tensors
        .iter()
        .map(Bytes::len)
        .filter(|&size| size < COPY_BYTE_SIZE);
    let reserved = PREFIX_BYTE_SIZE
        + around
        + message.encoded_len()
        + copied.sum::<usize>()
        + tensors.len() * MOST_FIELD_PREFIX;
    let mut out = BytesMut::with_capacity(reserved);
    out.put_u8(0);
    out.put_u32(length);
    if envelope == Envelope::Stream {
        encode_key(INFER_RESPONSE, WireType::LengthDelimited, &mut out);
        encode_varint(as_u64(byte_size), &mut out);
    }
    // What `reserved` counted has room for it.
    message.encode_raw(&mut out);
    let mut chunks = SmallVec::<[Bytes; 3]>::new();
    for tensor in tensors {
        encode_key(RAW_OUTPUT_CONTENTS, WireType::LengthDelimited, &mut out);
        encode_varint(as_u64(tensor.len()), &mut out);
        if tensor.len() < COPY_BYTE_SIZE {
            out.put_slice(&tensor);
        } else {
            chunks.push(out.split().freeze());
            chunks.push(tensor);
        }
    }
    chunks.push(out.freeze());
    Ok(Chunks::new(chunks))
}

/// Bytes that the key and the length of a field can take.
const MOST_FIELD_PREFIX: usize = 11;

fn field_byte_size(tensor: &Bytes) -> usize {
    key_len(RAW_OUTPUT_CONTENTS) + encoded_len_varint(as_u64(tensor.len())) + tensor.len()
}

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A message and the trailers of success.
struct Reply {
    chunks: Chunks,
    ended: bool,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if let Some(frame) = ready!(Pin::new(&mut self.chunks).poll_frame(context)) {
            return Poll::Ready(Some(frame));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
#[path = "unary_tests.rs"]
mod tests;
