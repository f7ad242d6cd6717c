//! What a connection has to send: small pieces in one buffer, large ones shared and not copied.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Write},
    mem,
};

use bytes::Bytes;

/// Pieces up to this size are copied.
const SMALL: usize = 8 << 10;
/// Pieces that leave with one write.
const AT_ONCE: usize = 16;

/// Bytes that are to be sent, in order.
#[derive(Debug, Default)]
pub(in crate::perf) struct Out {
    /// Sent before `tail`.
    pieces: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of `tail` that were sent.
    sent: usize,
}

impl Out {
    /// Adds a copy.
    pub(in crate::perf) fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Adds the bytes, without a copy if they are many.
    pub(in crate::perf) fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() <= SMALL {
            self.put(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            let tail = Bytes::from(mem::take(&mut self.tail));
            self.pieces.push_back(tail.slice(self.sent..));
            self.sent = 0;
        }
        self.pieces.push_back(bytes);
    }

    pub(in crate::perf) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Writes what can be written without waiting; true if that was everything.
    pub(in crate::perf) fn write(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        while !self.is_empty() {
            match self.write_once(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.forget(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn write_once(&self, stream: &mut impl Write) -> io::Result<usize> {
        let tail = self.tail.get(self.sent..).unwrap_or_default();
        if self.pieces.is_empty() {
            return stream.write(tail);
        }
        let pieces = self.pieces.iter().take(AT_ONCE).map(|piece| &piece[..]);
        let all_pieces = self.pieces.len() <= AT_ONCE;
        let slices: Vec<IoSlice<'_>> = pieces
            .chain(all_pieces.then_some(tail))
            .map(IoSlice::new)
            .collect();
        stream.write_vectored(&slices)
    }

    fn forget(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                *piece = piece.slice(written..);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        self.sent += written;
        if self.sent >= self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time and would block after each.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        open: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open = !self.open;
            if !self.open {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            let first: Vec<u8> = bytes.take(self.width).collect();
            self.write(&first)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_writes_take() {
        for width in [13, 8191, 40_000] {
            let mut stream = Narrow {
                width,
                taken: Vec::new(),
                open: false,
            };
            let (mut out, mut due) = (Out::default(), Vec::new());
            for (fill, size) in [(1, 5), (2, 9000), (3, 1), (4, 20_000), (5, 8192), (6, 0)] {
                let piece = Bytes::from(vec![fill; size]);
                due.extend_from_slice(&piece);
                out.put_shared(piece);
                drop(out.write(&mut stream));
            }
            while !out.write(&mut stream).unwrap() {}
            assert!(out.is_empty());
            assert!(stream.taken == due, "width {width}");
        }
    }
}
