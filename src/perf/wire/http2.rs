//! gRPC on one HTTP/2 connection: calls at the same time up to a capacity, or streams that stay open
//! and have one request each.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Answer, Broken, HeaderBlock, Kept, Message, Out, Outcome, Ticket, Wire,
    calls::{Ending, Stream},
    frames::{self, ACK, END_HEADERS, END_STREAM, Head, Piece, Reader, kind},
    hpack::Trailers,
};

/// What an answer may have before the server waits for room: as much as the protocol knows.
const WINDOW: u32 = (1 << 31) - 1;
/// So much of a window may be used before it is given back.
const GIVE_BACK: u32 = 1 << 29;
const DEFAULT_WINDOW: u32 = 65_535;
/// Stream identifiers end; a connection is given up before.
const LAST_STREAM: u32 = 0x7fff_0000;

/// Which calls a connection makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::perf) enum Calls {
    /// One for each request.
    Unary,
    /// One for many requests, one after the other.
    Streaming,
}

/// One connection.
#[derive(Debug)]
pub(in crate::perf) struct GrpcWire {
    calls: Calls,
    block: HeaderBlock,
    /// Most requests at the same time.
    capacity: usize,
    reader: Reader,
    streams: Vec<Stream>,
    next_stream: u32,
    peer: Peer,
    /// Bytes that the server may still be sent, on all streams together.
    window: i64,
    /// What waits for room in a window.
    held: VecDeque<Held>,
    /// Bytes received since the connection's window was last given back.
    received: u32,
    /// How the last call that ended well ended: most do alike.
    good_end: Vec<u8>,
    closing: bool,
}

/// What the server said of itself.
#[derive(Debug)]
struct Peer {
    frame_byte_size: usize,
    stream_window: i64,
    stream_count: usize,
    /// Whether it remembers header fields.
    remembers: bool,
    /// Whether the next header block must say that it need not.
    forgets: bool,
}

#[derive(Debug)]
struct Held {
    stream: u32,
    bytes: Bytes,
}

impl GrpcWire {
    /// Opens a connection for so many requests at the same time.
    pub(in crate::perf) fn open(
        calls: Calls,
        block: HeaderBlock,
        capacity: usize,
        out: &mut Out,
    ) -> Self {
        out.put(frames::PREFACE);
        // No table of header fields, no pushes, and windows that never fill.
        let mut settings = Vec::new();
        for (name, value) in [(1_u16, 0_u32), (2, 0), (4, WINDOW)] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frames::put(kind::SETTINGS, 0, 0, &settings, out);
        let more = (WINDOW - DEFAULT_WINDOW).to_be_bytes();
        frames::put(kind::WINDOW_UPDATE, 0, 0, &more, out);
        Self {
            calls,
            block,
            capacity,
            reader: Reader::default(),
            streams: Vec::with_capacity(capacity),
            next_stream: 1,
            peer: Peer {
                frame_byte_size: 16 << 10,
                stream_window: i64::from(DEFAULT_WINDOW),
                stream_count: usize::MAX,
                remembers: true,
                forgets: false,
            },
            window: i64::from(DEFAULT_WINDOW),
            held: VecDeque::new(),
            received: 0,
            good_end: Vec::new(),
            closing: false,
        }
    }
}

impl Wire for GrpcWire {
    fn has_room(&self) -> bool {
        let busy = self.streams.iter().filter(|stream| !stream.is_idle());
        !self.closing && busy.count() < self.capacity.min(self.peer.stream_count)
    }

    fn send(&mut self, ticket: Ticket, message: &Message, keep: bool, out: &mut Out) {
        let idle = self.streams.iter_mut().find(|stream| stream.is_idle());
        let stream = match idle {
            Some(stream) => {
                stream.begin(ticket, message.decoupled, keep);
                stream.id
            }
            None => self.open_stream(ticket, message.decoupled, keep, out),
        };
        self.held.push_back(Held {
            stream,
            bytes: message.bytes.clone(),
        });
        self.send_held(out);
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        out: &mut Out,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Broken> {
        while let Some(piece) = self.reader.next(&mut bytes)? {
            match piece {
                Piece::Data { stream, bytes, end } => {
                    self.receive_data(stream, bytes, end, out, answers);
                }
                Piece::Frame { head, body } => self.receive_frame(head, &body, out, answers)?,
            }
        }
        Ok(())
    }

    fn unanswered(&self) -> Vec<Ticket> {
        self.streams
            .iter()
            .filter_map(|stream| stream.ticket())
            .collect()
    }
}

impl GrpcWire {
    fn open_stream(&mut self, ticket: Ticket, decoupled: bool, keep: bool, out: &mut Out) -> u32 {
        let id = self.next_stream;
        self.next_stream += 2;
        self.closing |= self.next_stream > LAST_STREAM;
        let block = match (self.peer.remembers, id) {
            (false, _) => &self.block.plain,
            (true, 1) => &self.block.first,
            (true, _) => &self.block.again,
        };
        let forget: &[u8] = if std::mem::take(&mut self.peer.forgets) {
            &[0x20]
        } else {
            &[]
        };
        let byte_size = forget.len() + block.len();
        frames::put_head(byte_size, kind::HEADERS, END_HEADERS, id, out);
        out.put(forget);
        out.put(block);
        let streaming = self.calls == Calls::Streaming;
        let mut stream = Stream::new(id, streaming, self.peer.stream_window);
        stream.begin(ticket, decoupled, keep);
        self.streams.push(stream);
        id
    }

    /// Sends what there is room for.
    fn send_held(&mut self, out: &mut Out) {
        let mut held = std::mem::take(&mut self.held);
        held.retain_mut(|held| !self.send_part(held, out));
        self.held = held;
    }

    /// Sends as much of a message as there is room for; whether that was all.
    fn send_part(&mut self, held: &mut Held, out: &mut Out) -> bool {
        let Some(stream) = self.streams.iter_mut().find(|s| s.id == held.stream) else {
            return true;
        };
        while !held.bytes.is_empty() {
            let room = usize::try_from(self.window.min(stream.window)).unwrap_or(0);
            let size = room.min(self.peer.frame_byte_size).min(held.bytes.len());
            if size == 0 {
                return false;
            }
            let part = held.bytes.split_to(size);
            let last = held.bytes.is_empty() && self.calls == Calls::Unary;
            let flags = if last { END_STREAM } else { 0 };
            frames::put_head(size, kind::DATA, flags, stream.id, out);
            out.put_shared(part);
            let sent = i64::try_from(size).unwrap_or(i64::MAX);
            self.window -= sent;
            stream.window -= sent;
        }
        true
    }

    fn receive_data(
        &mut self,
        id: u32,
        bytes: &[u8],
        end: bool,
        out: &mut Out,
        answers: &mut Vec<Answer>,
    ) {
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        give_back(&mut self.received, count, 0, out);
        let Some(index) = self.streams.iter().position(|stream| stream.id == id) else {
            return;
        };
        let stream = &mut self.streams[index];
        give_back(&mut stream.received, count, id, out);
        stream.receive(bytes, answers);
        if end {
            let stream = self.streams.swap_remove(index);
            stream.end(Ending::Silent, answers);
        }
    }

    fn receive_frame(
        &mut self,
        head: Head,
        body: &[u8],
        out: &mut Out,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Broken> {
        match head.kind {
            kind::HEADERS if head.flags & END_STREAM != 0 => self.end(&head, body, answers)?,
            kind::HEADERS => {
                frames::header_block(&head, body)?;
            }
            kind::CONTINUATION => frames::header_block(&head, body).map(|_| ())?,
            kind::RST_STREAM => {
                if let Some(stream) = self.remove(head.stream) {
                    stream.end(Ending::Reset(number(body)), answers);
                }
            }
            kind::SETTINGS if head.flags & ACK == 0 => {
                self.settle(body);
                frames::put(kind::SETTINGS, ACK, 0, &[], out);
                self.send_held(out);
            }
            kind::PING if head.flags & ACK == 0 => frames::put(kind::PING, ACK, 0, body, out),
            kind::GOAWAY => self.closing = true,
            kind::WINDOW_UPDATE => {
                self.widen(head.stream, number(body));
                self.send_held(out);
            }
            _ => {}
        }
        Ok(())
    }

    /// A call ended with these trailers.
    fn end(&mut self, head: &Head, body: &[u8], answers: &mut Vec<Answer>) -> Result<(), Broken> {
        let block = frames::header_block(head, body)?;
        let good = !block.is_empty() && block == self.good_end;
        let trailers = if good {
            Trailers::good()
        } else {
            Trailers::read(block)?
        };
        if !good && trailers == Trailers::good() {
            self.good_end = block.to_vec();
        }
        if let Some(stream) = self.remove(head.stream) {
            stream.end(Ending::Trailers(trailers), answers);
        }
        Ok(())
    }

    fn remove(&mut self, id: u32) -> Option<Stream> {
        let index = self.streams.iter().position(|stream| stream.id == id)?;
        Some(self.streams.swap_remove(index))
    }

    fn settle(&mut self, body: &[u8]) {
        for setting in body.chunks_exact(6) {
            let (name, value) = setting.split_at(2);
            let value = number(value);
            let size = usize::try_from(value).unwrap_or(usize::MAX);
            match name {
                [0, 1] if value < 4096 => {
                    self.peer.forgets = self.peer.remembers && self.next_stream > 1;
                    self.peer.remembers = false;
                }
                [0, 3] => self.peer.stream_count = size,
                [0, 4] => {
                    let more = i64::from(value) - self.peer.stream_window;
                    self.peer.stream_window += more;
                    for stream in &mut self.streams {
                        stream.window += more;
                    }
                }
                [0, 5] => self.peer.frame_byte_size = size,
                _ => {}
            }
        }
    }

    fn widen(&mut self, stream: u32, more: u32) {
        if stream == 0 {
            self.window += i64::from(more);
        } else if let Some(stream) = self.streams.iter_mut().find(|s| s.id == stream) {
            stream.window += i64::from(more);
        }
    }
}

/// Counts what was received, and gives the window back when much of it is used.
fn give_back(received: &mut u32, count: u32, stream: u32, out: &mut Out) {
    *received = received.saturating_add(count);
    if *received > GIVE_BACK {
        let more = std::mem::take(received).to_be_bytes();
        frames::put(kind::WINDOW_UPDATE, 0, stream, &more, out);
    }
}

/// The first four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// What a call left of its answer.
impl Outcome {
    pub(super) fn kept(body: Vec<u8>) -> Self {
        Self::Done(Some(Kept {
            json_byte_size: None,
            body,
        }))
    }
}
