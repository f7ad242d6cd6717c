//! A TCP connection that is read and written by one and watched by another: who waits for an answer
//! hears that its client has gone, though nobody reads, and whatever the client sent before it went.
//! However much a connection has to move, it lets the others of its thread have their turn.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::net::{Shutdown, shutdown};
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::yield_now,
};

/// How much a connection moves before others have their turn: some hundred microseconds' worth, and
/// more than an image has. A client that is quick, or reads nothing and so has the kernel take megabytes at once, would otherwise make
/// everybody else wait for milliseconds. (What is read is bounded by the protocols' buffers as well.)
const TURN_BYTE_SIZE: usize = 1 << 20;

/// A share of one connection. It is closed with its last share.
#[derive(Clone, Debug)]
pub(super) struct Socket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// How often something was read, or its end.
    reads: AtomicUsize,
    /// Bytes that it has moved since it last let others have their turn.
    moved: AtomicUsize,
}

impl Socket {
    /// The first share.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Shared {
            stream,
            reads: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
        }))
    }

    /// How often it was read from with success.
    pub(super) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// Whether its turn has come: once it has moved so many bytes, it comes again after that of others.
    fn poll_turn(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.0.moved.load(Ordering::Relaxed) < TURN_BYTE_SIZE {
            return Poll::Ready(());
        }
        self.0.moved.store(0, Ordering::Relaxed);
        // Wakes this task once the others have run, and it was looked what has arrived for whom.
        let _ = pin!(yield_now()).poll(context);
        Poll::Pending
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
        ready!(self.poll_turn(context));
        let Shared {
            stream,
            reads,
            moved,
        } = &*self.0;
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
                (Some(count), _) => {
                    moved.fetch_add(count, Ordering::Relaxed);
                    reads.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, attempt) => return Poll::Ready(attempt),
            }
        }
    }
}

/// Of pieces that are more than one turn's: those that are not, and the beginning of the next.
fn first_turn<'p>(pieces: &'p [IoSlice<'p>]) -> Option<(&'p [IoSlice<'p>], &'p [u8])> {
    let mut room = TURN_BYTE_SIZE;
    for (index, piece) in pieces.iter().enumerate() {
        if let Some(rest) = piece.get(..room).filter(|_| room < piece.len()) {
            return Some((pieces.get(..index)?, rest));
        }
        room -= piece.len();
    }
    None
}

impl Socket {
    fn poll_written(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(context));
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.0.moved.fetch_add(count, Ordering::Relaxed);
                    return Poll::Ready(Ok(count));
                }
                failed => return Poll::Ready(failed),
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
        let bytes = bytes.get(..TURN_BYTE_SIZE).unwrap_or(bytes);
        self.poll_written(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match first_turn(pieces) {
            None => self.poll_written(context, |stream| stream.try_write_vectored(pieces)),
            Some((whole, rest)) => {
                let mut turn: SmallVec<[IoSlice<'_>; 4]> = whole.iter().copied().collect();
                turn.push(IoSlice::new(rest));
                self.poll_written(context, |stream| stream.try_write_vectored(&turn))
            }
        }
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        (Socket::new(accepted.unwrap().0), client.unwrap())
    }

    /// How often others have their turn while `work` is done.
    async fn turns(work: impl Future<Output = ()>) -> usize {
        let count = AtomicUsize::new(0);
        tokio::select! {
            biased;
            () = work => {}
            () = async {
                loop {
                    count.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            } => {}
        }
        count.into_inner()
    }

    #[test]
    fn a_turn_is_cut_out_of_the_pieces_where_it_ends() {
        let (small, large) = (vec![1; 1000], vec![2; TURN_BYTE_SIZE]);
        let cut = |pieces: &[&[u8]]| {
            let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            first_turn(&pieces).map(|(whole, rest)| (whole.len(), rest.len()))
        };
        assert_eq!(cut(&[]), None);
        assert_eq!(cut(&[&small, &small]), None);
        assert_eq!(cut(&[&large]), None);
        assert_eq!(cut(&[&small, &large]), Some((1, TURN_BYTE_SIZE - 1000)));
        assert_eq!(cut(&[&large, &small]), Some((1, 0)));
        assert_eq!(cut(&[&large[1..], &small, &small]), Some((1, 1)));
    }

    #[tokio::test]
    async fn others_have_their_turn_while_much_is_read_and_written() {
        const SIZE: usize = 16 * TURN_BYTE_SIZE;
        let (mut socket, client) = pair().await;
        let (mut from, mut to) = client.into_split();
        let client = tokio::spawn(async move {
            to.write_all(&vec![7; SIZE]).await.unwrap();
            let mut answer = vec![0; SIZE];
            from.read_exact(&mut answer).await.unwrap();
            (answer, from, to)
        });
        let mut body = vec![0; SIZE];
        let reading = turns(async {
            for piece in body.chunks_mut(TURN_BYTE_SIZE / 2) {
                assert_eq!(socket.read_exact(piece).await.unwrap(), piece.len());
            }
        });
        let reading = reading.await;
        assert!(reading >= 15, "{reading}");
        let writing = turns(async { socket.write_all(&body).await.unwrap() }).await;
        assert!(writing >= 15, "{writing}");
        assert_eq!(client.await.unwrap().0, vec![7; SIZE]);
    }

    #[tokio::test]
    async fn the_end_is_seen_behind_what_is_not_read() {
        let (socket, mut client) = pair().await;
        client.write_all(b"unread").await.unwrap();
        socket.spoken_to().await;
        let mut left = std::pin::pin!(socket.is_left());
        let early = std::future::poll_fn(|context| Poll::Ready(left.as_mut().poll(context)));
        assert!(early.await.is_pending());
        drop(client);
        left.await;
        assert_eq!(socket.reads(), 0);
    }
}
