//! Bodies, for every door: reading a client's within its limit, and writing an answer as the
//! pieces that it already consists of.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::{
    arriving::{Arriving, Patience},
    status::TOO_LARGE,
};
use crate::{
    admission::Charge,
    error::{Error, Result},
    trace::Sending,
};

/// What a transport's errors become.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The most that a length in a header makes us allocate before the bytes are there.
const FIRST_RESERVATION: usize = 1 << 20;
/// Pieces below this are counted: each costs as much as a large one.
const SMALL_CHUNK: usize = 512;

/// Reads a body whole, its bytes held by `charge`. One that arrives in one piece is not copied.
///
/// # Errors
/// Reason [`TOO_LARGE`] if it has, or announces, more than `limit` bytes; as [`Charge::grow`];
/// `InvalidArgument` if it arrives in too many small pieces; `Cancelled` if the client goes away or
/// breaks the transfer.
pub(super) async fn read<B>(
    body: B,
    limit: usize,
    patience: &Patience<'_>,
    charge: &mut Charge,
) -> Result<Bytes>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let announced = body
        .size_hint()
        .exact()
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if let Some(length) = announced {
        within_limit(length, limit)?;
    }
    read_announced(body, limit, patience, charge, |_| announced).await
}

/// As [`read`], for a body whose beginning tells its length.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_announced<B>(
    body: B,
    limit: usize,
    patience: &Patience<'_>,
    charge: &mut Charge,
    announced: impl FnOnce(&[u8]) -> Option<usize>,
) -> Result<Bytes>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut arriving = Arriving::new(body, *patience);
    let Some(first) = arriving.next().await? else {
        return Ok(Bytes::new());
    };
    within_limit(first.len(), limit)?;
    let announced = announced(&first);
    within_limit(announced.unwrap_or(0), limit)?;
    charge.grow(first.len())?;
    if arriving.is_at_end() {
        return Ok(first);
    }
    let Some(second) = arriving.next().await? else {
        return Ok(first);
    };
    let mut whole = BytesMut::new();
    append(&mut whole, &first, announced, limit)?;
    let mut next = Some(second);
    let mut small_chunks = usize::from(first.len() < SMALL_CHUNK);
    while let Some(chunk) = next {
        small_chunks += usize::from(chunk.len() < SMALL_CHUNK);
        if small_chunks > patience.small_chunks {
            return Err(too_many_chunks(patience.small_chunks));
        }
        charge.grow(chunk.len())?;
        append(&mut whole, &chunk, announced, limit)?;
        next = arriving.next().await?;
    }
    Ok(whole.freeze())
}

/// Appends `chunk`, growing by doubling but never past the announced length. What was announced is
/// grown into faster: what is not written to takes no memory, and each growth is a copy; the last
/// step is not a small one.
pub(super) fn append(
    whole: &mut BytesMut,
    chunk: &[u8],
    announced: Option<usize>,
    limit: usize,
) -> Result<()> {
    let length = whole.len().saturating_add(chunk.len());
    within_limit(length, limit)?;
    if length > whole.capacity() {
        let factor = if announced.is_some() { 8 } else { 2 };
        let grown = whole.capacity().saturating_mul(factor);
        let grown = grown.max(FIRST_RESERVATION);
        let capacity = announced
            .filter(|&all| all / 2 <= grown)
            .unwrap_or(grown)
            .max(length);
        whole.reserve(capacity - whole.len());
    }
    whole.extend_from_slice(chunk);
    Ok(())
}

fn too_many_chunks(limit: usize) -> Error {
    Error::invalid_argument(
        "small_chunks",
        format!(
            "Chunked request body exceeds maximum of {limit} non-empty chunks. Send fewer or larger \
             HTTP chunks. Those of {SMALL_CHUNK} bytes and more do not count."
        ),
    )
}

/// # Errors
/// Reason [`TOO_LARGE`] if `length` is beyond `limit`.
pub(super) fn within_limit(length: usize, limit: usize) -> Result<()> {
    if length <= limit {
        return Ok(());
    }
    Err(Error::resource_exhausted(
        TOO_LARGE,
        format!("request body of {length} bytes or more exceeds the limit of {limit} bytes"),
    ))
}

/// Checks an answer's bytes against their limit.
///
/// # Errors
/// `InvalidArgument`, as the request asks for too much.
pub(super) fn answer_within(byte_size: usize, limit: usize) -> Result<()> {
    if byte_size <= limit {
        return Ok(());
    }
    Err(Error::invalid_argument(
        "response_too_large",
        format!("response of {byte_size} bytes exceeds the limit of {limit} bytes"),
    ))
}

/// An answer's body: some pieces, sent one after the other without joining them.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: SmallVec<[Bytes; 3]>,
    next: usize,
    /// Dropped when all of it has been handed to the transport.
    sending: Option<Arc<Sending>>,
    /// What the request and its answer hold until the answer is written.
    charge: Option<Charge>,
}

impl Chunks {
    /// A body of these pieces.
    pub(super) fn new(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            // An empty piece would be an empty write.
            chunks: chunks
                .into_iter()
                .filter(|chunk| !chunk.is_empty())
                .collect(),
            next: 0,
            sending: None,
            charge: None,
        }
    }

    /// Keeps `sending` until the body has been sent.
    pub(super) fn watch(&mut self, sending: Sending) {
        self.sending = Some(Arc::new(sending));
    }

    /// Has `charge` hold these bytes too, until they are written.
    ///
    /// # Errors
    /// As [`Charge::grow`].
    pub(super) fn hold(&mut self, mut charge: Charge) -> Result<()> {
        charge.grow(usize::try_from(self.byte_size()).unwrap_or(usize::MAX))?;
        self.charge = Some(charge);
        Ok(())
    }

    /// The same bytes once more, without a copy.
    pub(super) fn share(&self) -> Self {
        Self::new(self.chunks.iter().skip(self.next).cloned())
    }

    /// What is still to be sent.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.chunks.into_iter().skip(self.next)
    }

    /// All but the first bytes.
    pub(super) fn skip(self, mut byte_size: usize) -> Self {
        Self::new(self.into_pieces().map(|mut piece| {
            let skipped = byte_size.min(piece.len());
            byte_size -= skipped;
            piece.split_off(skipped)
        }))
    }

    /// Bytes that are still to be sent.
    pub(super) fn byte_size(&self) -> u64 {
        let rest = self.chunks.iter().skip(self.next);
        rest.map(|chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX))
            .sum()
    }
}

impl From<Bytes> for Chunks {
    fn from(chunk: Bytes) -> Self {
        Self::new([chunk])
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.next;
        let chunk = self.chunks.get_mut(next).map(std::mem::take);
        self.next += usize::from(chunk.is_some());
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.chunks.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.byte_size())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        admission::{Budget, NO_ROOM},
        api::Readiness,
    };

    #[tokio::test]
    async fn bodies_are_charged_as_they_arrive_and_small_pieces_are_counted() {
        let readiness = Readiness::default();
        let patience = Patience {
            stall: Duration::from_secs(60),
            small_chunks: 2,
            readiness: &readiness,
        };
        let body = |pieces: &[usize]| {
            let pieces = pieces.iter().map(|&size| Bytes::from(vec![7; size]));
            Chunks::new(pieces)
        };
        let budget = Arc::new(Budget::new(1500));
        for (pieces, reason) in [
            (&[600, 600, 300][..], None),
            (&[1, 1], None),
            (&[512, 1, 511, 476], Some("small_chunks")),
            (&[512, 511, 477], None),
            (&[1, 1, 1], Some("small_chunks")),
            (&[600, 600, 301], Some(NO_ROOM)),
            (&[1501], Some(NO_ROOM)),
        ] {
            let mut charge = budget.charge();
            let read = read_announced(body(pieces), 5000, &patience, &mut charge, |_| None).await;
            assert_eq!(read.err().map(|error| error.reason()), reason, "{pieces:?}");
        }
        assert_eq!(budget.used(), 0);
        let mut answer = body(&[600, 600]);
        answer.hold(budget.charge()).unwrap();
        assert_eq!(budget.used(), 1200);
        assert!(body(&[301]).hold(budget.charge()).is_err());
        drop(answer);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn growth_is_bounded_by_what_was_announced_and_by_the_limit() {
        let mut whole = BytesMut::new();
        append(&mut whole, &[0; 10], Some(1 << 40), usize::MAX).unwrap();
        assert!(whole.capacity() <= 2 * FIRST_RESERVATION);
        let mut whole = BytesMut::new();
        append(&mut whole, &[0; 10], Some(25), 30).unwrap();
        assert_eq!(whole.capacity(), 25);
        append(&mut whole, &[0; 15], Some(25), 30).unwrap();
        let error = append(&mut whole, &[0; 10], None, 30).unwrap_err();
        assert_eq!(error.reason(), TOO_LARGE);
    }

    #[test]
    fn chunks_tell_their_size_and_end_with_the_last_one() {
        let mut body = Chunks::new([Bytes::from("ab"), Bytes::new(), Bytes::from("c")]);
        assert_eq!(body.size_hint().exact(), Some(3));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut sent = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            sent.extend(frame.into_data().unwrap());
        }
        assert_eq!((sent, body.is_end_stream()), (b"abc".to_vec(), true));
        assert!(Chunks::default().is_end_stream());
    }
}
