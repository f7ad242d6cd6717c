//! The protocols, without sockets: what is to be sent, and what received bytes mean. Requests are
//! bytes that were made beforehand; answers are not read further than to their end, but if they are
//! to be kept.

mod calls;
mod frames;
mod hpack;
mod http;
mod http2;
mod huffman;
mod out;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::sequence::Marks;

pub(super) use self::{
    hpack::HeaderBlock,
    http::HttpWire,
    http2::{Calls, GrpcWire},
    out::Out,
};

/// The number by which whoever sends a request knows its answer.
pub(super) type Ticket = u32;

/// A request's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// HTTP: head and body. gRPC: the message with its length in front.
    pub(super) bytes: Bytes,
    /// Whether any number of responses may come, the last of which says that it is.
    pub(super) decoupled: bool,
    /// Where it says of which sequence it is, if it does.
    pub(super) marks: Option<Marks>,
}

/// What came back for a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Well. With the answer if it was to be kept: over HTTP its JSON part's size, if it has one of its
    /// own, and the body; over gRPC the message.
    Done(Option<Kept>),
    /// With an error, in the server's words.
    Failed(String),
}

/// An answer that was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Bytes of `body` that are JSON, if other bytes follow them.
    pub(super) json_byte_size: Option<usize>,
    pub(super) body: Vec<u8>,
}

/// The connection is of no more use; the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(pub(super) String);

/// One connection's protocol.
pub(super) trait Wire {
    /// Whether another request may be sent now.
    fn has_room(&self) -> bool;

    /// Sends a request, for which there must be room.
    fn send(&mut self, ticket: Ticket, message: &Message, keep: bool, out: &mut Out);

    /// Takes in what was received; adds to `answers` what is complete.
    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Out,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Broken>;

    /// The requests that have no answer yet.
    fn unanswered(&self) -> Vec<Ticket>;
}
