//! A TCP connection that is read and written by one and watched by another: who waits for an answer
//! hears that its client has gone, though nobody reads, and whatever the client sent before it went.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::net::{Shutdown, shutdown};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// A share of one connection. It is closed with its last share.
#[derive(Clone, Debug)]
pub(super) struct Socket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// How often something was read, or its end.
    reads: AtomicUsize,
}

impl Socket {
    /// The first share.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Shared {
            stream,
            reads: AtomicUsize::new(0),
        }))
    }

    /// How often it was read from with success.
    pub(super) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// Waits until there is something to read, or the client has ended what it sends.
    pub(super) async fn spoken_to(&self) {
        // What is wrong is found out by reading. To be told that there is something to read is not
        // enough: that may be a mistake.
        let _ = self.0.stream.peek(&mut [0]).await;
    }

    /// Waits until the client has ended what it sends, however much of that is not read yet. Bytes that
    /// arrive do not wake it.
    pub(super) async fn is_left(&self) {
        // There is no urgent data to wait for, as the kernel is not asked about it; what remains of that
        // interest is the end. A failure is an end, too.
        let _ = self.0.stream.ready(Interest::PRIORITY).await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Shared { stream, reads } = &*self.0;
        loop {
            ready!(stream.poll_read_ready(context))?;
            let (room, mut outcome) = (into.remaining(), None);
            let attempt = stream.try_io(Interest::READABLE, || {
                let count = stream.try_read_buf(into)?;
                outcome = Some(count);
                // What does not fill the room was all that there was: the kernel need not be asked again
                // before it says that there is more.
                match 0 < count && count < room {
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            match (outcome, attempt) {
                (Some(_), _) => {
                    reads.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, attempt) => return Poll::Ready(attempt),
            }
        }
    }
}

impl Socket {
    fn poll_written(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(context, |stream| stream.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.0.stream, Shutdown::Write).map_err(io::Error::from))
    }
}
