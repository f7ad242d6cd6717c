//! A transport that holds back what is written until its owner lets it go. HTTP/2 writes each frame
//! by itself, and most clients take frames of 16 KiB only: a tensor of 600 KB would be 37 calls of
//! the system, and as many wake-ups of its reader.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Not more than this is held back.
const MOST_HELD: usize = 256 << 10;
/// Writes that are as large as this by themselves are not held back.
const LARGE_WRITE: usize = 64 << 10;
/// A buffer that is not larger than this is kept for the next writes.
const KEPT_CAPACITY: usize = 16 << 10;

/// The transport as the connection sees it.
pub(super) struct Held<T>(Arc<Mutex<State<T>>>);

/// The transport as its owner sees it.
pub(super) struct Release<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    transport: T,
    held: BytesMut,
    /// Why nothing can be written any more; the connection reads it.
    failure: Option<io::ErrorKind>,
}

/// Both views of `transport`.
pub(super) fn hold_back<T>(transport: T) -> (Held<T>, Release<T>) {
    let state = Arc::new(Mutex::new(State {
        transport,
        held: BytesMut::new(),
        failure: None,
    }));
    (Held(Arc::clone(&state)), Release(state))
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: AsyncWrite + Unpin> Release<T> {
    /// Writes what is held back. False if that failed: the connection is told when it reads.
    pub(super) fn poll_release(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = lock(&self.0);
        if state.failure.is_some() {
            return Poll::Ready(true);
        }
        let written = ready!(state.poll_write_held(context));
        if state.held.capacity() > KEPT_CAPACITY {
            state.held = BytesMut::new();
        }
        state.failure = written.err().map(|error| error.kind());
        Poll::Ready(state.failure.is_none())
    }
}

impl<T: AsyncWrite + Unpin> State<T> {
    fn poll_write_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.held.is_empty() {
            let transport = Pin::new(&mut self.transport);
            let count = ready!(transport.poll_write(context, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(count);
        }
        Pin::new(&mut self.transport).poll_flush(context)
    }

    /// What outgrows the buffer that is kept is likely the first of many frames, and to grow with
    /// each of them would be to copy them again.
    fn make_room(&mut self, byte_size: usize) {
        let length = self.held.len() + byte_size;
        if length > KEPT_CAPACITY && length > self.held.capacity() {
            self.held.reserve(MOST_HELD.max(length) - self.held.len());
        }
    }

    fn check(&self) -> io::Result<()> {
        self.failure.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Held<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if let Some(kind) = state.failure {
            return Poll::Ready(Err(kind.into()));
        }
        Pin::new(&mut state.transport).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Held<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        state.check()?;
        let byte_size = pieces.iter().map(|piece| piece.len()).sum();
        if byte_size >= LARGE_WRITE {
            ready!(state.poll_write_held(context))?;
            return Pin::new(&mut state.transport).poll_write_vectored(context, pieces);
        }
        if state.held.len() + byte_size > MOST_HELD {
            ready!(state.poll_write_held(context))?;
        }
        state.make_room(byte_size);
        for piece in pieces {
            state.held.extend_from_slice(piece);
        }
        Poll::Ready(Ok(byte_size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is held back is the owner's to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        ready!(state.poll_write_held(context))?;
        Pin::new(&mut state.transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    async fn release<T: AsyncWrite + Unpin>(owner: &Release<T>) -> bool {
        poll_fn(|context| owner.poll_release(context)).await
    }

    #[tokio::test]
    async fn what_is_written_leaves_when_it_is_released_in_order() {
        let (near, mut far) = duplex(1 << 20);
        let (mut held, owner) = hold_back(near);
        for piece in [&b"ab"[..], b"c"] {
            held.write_all(piece).await.unwrap();
            held.flush().await.unwrap();
        }
        let mut read = [0; 3];
        let nothing = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut read);
            Poll::Ready(
                Pin::new(&mut far)
                    .poll_read(context, &mut buffer)
                    .is_pending(),
            )
        });
        assert!(nothing.await, "nothing has left yet");
        assert!(release(&owner).await);
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abc");
    }

    #[tokio::test]
    async fn not_more_than_the_most_is_held_and_all_of_it_arrives() {
        let (near, mut far) = duplex(1000);
        let (mut held, owner) = hold_back(near);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        });
        for (piece, at) in sent.chunks(16_393).zip(0..) {
            held.write_all(piece).await.unwrap();
            assert!(lock(&held.0).held.len() <= MOST_HELD);
            if at % 7 == 0 {
                assert!(release(&owner).await);
            }
        }
        held.write_all(&sent[..LARGE_WRITE]).await.unwrap();
        held.shutdown().await.unwrap();
        let expected = [&sent[..], &sent[..LARGE_WRITE]].concat();
        assert!(reader.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_connection_learns_that_what_was_held_could_not_be_written() {
        let (near, far) = duplex(10);
        let (mut held, owner) = hold_back(near);
        held.write_all(b"for nobody").await.unwrap();
        drop(far);
        assert!(!release(&owner).await);
        assert!(held.read(&mut [0]).await.is_err());
        assert!(held.write(b"more").await.is_err());
        assert!(release(&owner).await, "said once");
    }
}
