//! Messages out of a body that arrives in pieces. Memory grows with what arrives, not with what a
//! message claims to have; a message in one piece is not copied.

use bytes::{Buf, Bytes, BytesMut};

use super::unary::{PREFIX_BYTE_SIZE, announced, malformed};
use crate::{
    admission::Charge,
    api::body::{append, within_limit},
    error::Result,
};

/// What has arrived and is not yet taken.
#[derive(Debug)]
pub struct Frames {
    /// The beginning of a message whose rest is still to come.
    partial: BytesMut,
    /// The last piece, as far as it is not taken.
    piece: Bytes,
    /// How large that piece was.
    piece_byte_size: usize,
    /// Most bytes of a message.
    limit: usize,
    /// Holds what has arrived of the message that is taken next.
    charge: Charge,
}

impl Frames {
    /// No bytes yet; messages have at most `limit`.
    pub fn new(limit: usize, charge: Charge) -> Self {
        Self {
            partial: BytesMut::new(),
            piece: Bytes::new(),
            piece_byte_size: 0,
            limit,
            charge,
        }
    }

    /// Whether a message has arrived only in part, once [`Self::take`] returned `None`.
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes a piece in. To be called when [`Self::take`] returned `None`.
    pub fn push(&mut self, piece: Bytes) {
        self.piece_byte_size = piece.len();
        self.piece = piece;
    }

    /// What holds the message that was taken last; a message's charge that is not taken goes on to
    /// the next one.
    pub fn charge(&mut self) -> Charge {
        let next = self.charge.another();
        std::mem::replace(&mut self.charge, next)
    }

    /// The next whole message, without its prefix, and whether it is compressed; `None` if more has
    /// to arrive first.
    ///
    /// # Errors
    /// `ResourceExhausted` if it has, or announces, too many bytes;
    /// `InvalidArgument` if its prefix is none; as [`Charge::grow`].
    pub fn take(&mut self) -> Result<Option<(bool, Bytes)>> {
        let whole = announced(&self.piece).filter(|&all| all <= self.piece.len());
        if let Some(length) = whole.filter(|_| self.partial.is_empty()) {
            self.charge.grow(length)?;
            let message = self.piece.split_to(length);
            return unwrap(self.detach(message), self.limit).map(Some);
        }
        while self.piece.has_remaining() {
            let length = announced(&self.partial);
            let missing = length.unwrap_or(PREFIX_BYTE_SIZE) - self.partial.len();
            let next = self.piece.split_to(missing.min(self.piece.len()));
            let limit = self.limit.saturating_add(PREFIX_BYTE_SIZE);
            self.charge.grow(next.len())?;
            append(&mut self.partial, &next, length, limit)?;
            let Some(length) = announced(&self.partial) else {
                continue;
            };
            within_limit(length - PREFIX_BYTE_SIZE, self.limit)?;
            if length == self.partial.len() {
                let message = std::mem::take(&mut self.partial).freeze();
                return unwrap(message, self.limit).map(Some);
            }
        }
        Ok(None)
    }

    /// A small message does not keep the large piece alive that it came in.
    fn detach(&self, message: Bytes) -> Bytes {
        if message.len() < self.piece_byte_size / 2 {
            return Bytes::copy_from_slice(&message);
        }
        message
    }
}

fn unwrap(mut message: Bytes, limit: usize) -> Result<(bool, Bytes)> {
    let prefix = message.split_to(PREFIX_BYTE_SIZE);
    within_limit(message.len(), limit)?;
    match prefix.first() {
        Some(0) => Ok((false, message)),
        Some(1) => Ok((true, message)),
        _ => Err(malformed("its first byte is neither 0 nor 1")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        admission::{Budget, NO_ROOM},
        api::status::TOO_LARGE,
        error::ErrorKind,
    };

    fn charge() -> Charge {
        Arc::new(Budget::new(usize::MAX)).charge()
    }

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for message in messages {
            body.push(0);
            body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            body.extend(message);
        }
        body
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_they_were_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..8),
        ) {
            let mut body = Bytes::from(framed(&messages));
            let mut frames = Frames::new(40, charge());
            let mut taken = Vec::new();
            for cut in cuts.iter().cycle() {
                while let Some((is_compressed, message)) = frames.take().unwrap() {
                    assert!(!is_compressed);
                    taken.push(message.to_vec());
                }
                if body.is_empty() {
                    break;
                }
                frames.push(body.split_to((*cut).min(body.len())));
            }
            prop_assert_eq!(taken, messages);
            prop_assert!(!frames.is_partial());
        }
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied_unless_the_piece_is_much_larger() {
        let body = Bytes::from(framed(&[vec![1; 90], vec![2; 10]]));
        let place = body.as_ptr_range();
        let mut frames = Frames::new(1000, charge());
        frames.push(body);
        let [large, small] = [(); 2].map(|()| frames.take().unwrap().unwrap().1);
        assert!(place.contains(&large.as_ptr()) && !place.contains(&small.as_ptr()));
        assert_eq!((large.len(), &small[..]), (90, &[2; 10][..]));
    }

    #[test]
    fn what_arrived_is_charged_and_goes_with_its_message() {
        let budget = Arc::new(Budget::new(40));
        let mut frames = Frames::new(100, budget.charge());
        let mut body = Bytes::from(framed(&[vec![1; 15], vec![2; 15]]));
        frames.push(body.split_to(10));
        assert!(frames.take().unwrap().is_none());
        assert_eq!(budget.used(), 10);
        frames.push(body.split_to(10));
        assert!(frames.take().unwrap().is_some());
        let first = frames.charge();
        assert_eq!(budget.used(), 20);
        frames.push(body);
        assert!(frames.take().unwrap().is_some());
        let second = frames.charge();
        drop(first);
        assert_eq!(budget.used(), 20);
        frames.push(Bytes::from(framed(&[vec![3; 16]])));
        assert_eq!(frames.take().unwrap_err().reason(), NO_ROOM);
        drop((second, frames));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_length_that_is_only_claimed_takes_no_memory() {
        let mut frames = Frames::new(usize::MAX, charge());
        frames.push(Bytes::from_static(b"\0\xff\xff\xff\xffabc"));
        assert!(frames.take().unwrap().is_none() && frames.is_partial());
        assert!(frames.partial.capacity() <= 2 << 20);
    }

    #[test]
    fn large_messages_are_refused_and_compressed_ones_marked() {
        for body in [
            &b"\0\0\0\0\x0b"[..],
            b"\0\0\0\0\x0bhello",
            b"\0\0\0\0\x0bhello world",
        ] {
            let mut frames = Frames::new(10, charge());
            frames.push(Bytes::from_static(body));
            assert_eq!(frames.take().unwrap_err().reason(), TOO_LARGE);
        }
        let mut frames = Frames::new(10, charge());
        frames.push(Bytes::from_static(b"\x01\0\0\0\x01a"));
        assert_eq!(frames.take().unwrap(), Some((true, "a".into())));
        frames.push(Bytes::from_static(b"\x02\0\0\0\x01a"));
        let error = frames.take().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
