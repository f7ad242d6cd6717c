//! The frames of HTTP/2. What DATA frames hold is passed on as it arrives; other frames are read
//! whole.

use std::borrow::Cow;

use super::{Broken, Out};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const HEAD: usize = 9;
/// A frame that is read whole may have so many bytes; nothing larger was asked for.
const MOST: usize = 1 << 20;

pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// A frame's first nine bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) byte_size: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// What was received.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Of a DATA frame.
    Data {
        stream: u32,
        bytes: &'a [u8],
        /// Whether the stream ends behind it.
        end: bool,
    },
    /// Any other frame.
    Frame { head: Head, body: Cow<'a, [u8]> },
}

/// Takes frames out of received bytes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The beginning of a frame that is not all there.
    begun: Vec<u8>,
    /// The DATA frame that is being received.
    data: Option<Head>,
}

impl Reader {
    /// The next piece of `bytes`, which is taken off them; `None` if there is none yet.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Broken> {
        if self.data.is_some() {
            return Ok(self.data_piece(bytes));
        }
        if !self.begun.is_empty() {
            return self.next_of_parts(bytes);
        }
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
            self.begun.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        };
        let head = Head::read(head);
        if head.kind == kind::DATA {
            *bytes = rest;
            return self.begin_data(head, bytes);
        }
        let Some((body, behind)) = rest.split_at_checked(head.bounded()?) else {
            self.begun.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        };
        *bytes = behind;
        let body = Cow::Borrowed(body);
        Ok(Some(Piece::Frame { head, body }))
    }

    /// As above, of a frame whose beginning was received before.
    fn next_of_parts<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Broken> {
        if !self.fill(HEAD, bytes) {
            return Ok(None);
        }
        let head = Head::read(&self.begun);
        if head.kind == kind::DATA {
            self.begun.clear();
            return self.begin_data(head, bytes);
        }
        if !self.fill(HEAD + head.bounded()?, bytes) {
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.begun);
        body.drain(..HEAD);
        let body = Cow::Owned(body);
        Ok(Some(Piece::Frame { head, body }))
    }

    /// Takes bytes until that many were received; whether they were.
    fn fill(&mut self, byte_size: usize, bytes: &mut &[u8]) -> bool {
        let missing = byte_size.saturating_sub(self.begun.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.begun.extend_from_slice(taken);
        *bytes = rest;
        self.begun.len() >= byte_size
    }

    fn begin_data<'a>(
        &mut self,
        head: Head,
        bytes: &mut &'a [u8],
    ) -> Result<Option<Piece<'a>>, Broken> {
        if head.flags & PADDED != 0 {
            return Err(Broken("the server pads its frames".to_owned()));
        }
        self.data = Some(head);
        Ok(self.data_piece(bytes))
    }

    fn data_piece<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        let head = self.data.as_mut()?;
        let (taken, rest) = bytes.split_at(head.byte_size.min(bytes.len()));
        *bytes = rest;
        head.byte_size -= taken.len();
        let ended = head.byte_size == 0;
        if taken.is_empty() && !ended {
            return None;
        }
        let piece = Piece::Data {
            stream: head.stream,
            bytes: taken,
            end: ended && head.flags & END_STREAM != 0,
        };
        if ended {
            self.data = None;
        }
        Some(piece)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let byte = |index: usize| bytes.get(index).copied().unwrap_or(0);
        let number = |from: usize, count: usize| {
            (from..from + count).fold(0_u32, |number, index| number << 8 | u32::from(byte(index)))
        };
        Self {
            byte_size: usize::try_from(number(0, 3)).unwrap_or(usize::MAX),
            kind: byte(3),
            flags: byte(4),
            stream: number(5, 4) & 0x7fff_ffff,
        }
    }

    fn bounded(&self) -> Result<usize, Broken> {
        if self.byte_size > MOST {
            return Err(Broken(
                "the server sends frames that are too large".to_owned(),
            ));
        }
        Ok(self.byte_size)
    }
}

/// The header block of a HEADERS frame.
pub(super) fn header_block<'a>(head: &Head, body: &'a [u8]) -> Result<&'a [u8], Broken> {
    if head.flags & END_HEADERS == 0 {
        return Err(Broken(
            "the server's header fields take more than a frame".to_owned(),
        ));
    }
    let mut block = body;
    let mut padding = 0;
    if head.flags & PADDED != 0
        && let Some((&count, rest)) = block.split_first()
    {
        (padding, block) = (usize::from(count), rest);
    }
    let priority = if head.flags & PRIORITY != 0 { 5 } else { 0 };
    let end = block.len().saturating_sub(padding);
    Ok(block.get(priority..end).unwrap_or_default())
}

/// Adds a frame's head.
pub(super) fn put_head(byte_size: usize, kind: u8, flags: u8, stream: u32, out: &mut Out) {
    let size = u32::try_from(byte_size).unwrap_or(u32::MAX).to_be_bytes();
    let stream = stream.to_be_bytes();
    out.put(&[
        size[1], size[2], size[3], kind, flags, stream[0], stream[1], stream[2], stream[3],
    ]);
}

/// Adds a frame.
pub(super) fn put(kind: u8, flags: u8, stream: u32, body: &[u8], out: &mut Out) {
    put_head(body.len(), kind, flags, stream, out);
    out.put(body);
}
