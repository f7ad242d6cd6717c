//! A client's body while it arrives, and how long it may stop doing so.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{Readiness, Stage, body::BoxError};
use crate::error::{Error, Result};

/// How often it is looked at whether a body still arrives.
const STALL_TICK: Duration = Duration::from_millis(500);
/// How long the rest of a body that nobody wants may take.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How long a body may stop arriving, and how small its pieces may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience<'a> {
    /// While the server runs.
    pub(super) stall: Duration,
    /// How many small pieces it may have.
    pub(super) small_chunks: usize,
    /// Once it is exiting, a client that stopped in the middle is not waited for.
    pub(super) readiness: &'a Readiness,
}

impl Patience<'_> {
    /// Drops what is left of a body of at most `limit` bytes. False if there is more, if it takes
    /// too long, or if the transfer breaks.
    pub(super) async fn discard<B>(&self, body: &mut B, mut limit: usize) -> bool
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let mut arriving = Arriving::new(body, *self);
        let discarded = timeout(DISCARD_TIME, async {
            loop {
                match arriving.next().await {
                    Ok(None) => return true,
                    Ok(Some(chunk)) if chunk.len() <= limit => limit -= chunk.len(),
                    Ok(Some(_)) | Err(_) => return false,
                }
            }
        });
        discarded.await.unwrap_or(false)
    }

    /// # Errors
    /// `Cancelled` if a body has stopped for too long.
    fn check(&self, stopped: Duration) -> Result<()> {
        let is_exiting = self.readiness.stage() == Stage::Exiting;
        if stopped < self.stall && !(is_exiting && stopped >= STALL_TICK) {
            return Ok(());
        }
        let stopped = stopped.as_millis();
        Err(Error::cancelled(
            "body_stalled",
            format!("the request body stopped arriving {stopped} ms ago"),
        ))
    }
}

/// A body whose pieces are waited for.
pub(super) struct Arriving<'p, B> {
    body: B,
    patience: Patience<'p>,
    /// Since when the next piece has been waited for.
    since: Option<Instant>,
    /// Set when something is first waited for, and then kept: to set a timer can take two calls of
    /// the system, and a large body has to be waited for many times.
    tick: Option<Pin<Box<Sleep>>>,
}

impl<'p, B> Arriving<'p, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    pub(super) fn new(body: B, patience: Patience<'p>) -> Self {
        Self {
            body,
            patience,
            since: None,
            tick: None,
        }
    }

    /// Whether nothing follows, as far as that is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece of data; `None` at the end. Trailers are skipped.
    ///
    /// # Errors
    /// `Cancelled` if it does not come for too long, or if the transfer breaks.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| {
            loop {
                let Some(frame) = ready!(self.poll_frame(context))? else {
                    return Poll::Ready(Ok(None));
                };
                if let Ok(chunk) = frame.into_data() {
                    return Poll::Ready(Ok(Some(chunk)));
                }
            }
        })
        .await
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.since = None;
            return Poll::Ready(frame.transpose().map_err(|error| {
                Error::cancelled("body_broken", "the request body ended early").with_source(error)
            }));
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(STALL_TICK)));
        loop {
            ready!(tick.as_mut().poll(context));
            self.patience.check(since.elapsed())?;
            tick.as_mut().reset(Instant::now() + STALL_TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::{super::body::Chunks, *};

    /// A body of some pieces, between which so much time passes; after the last one, nothing.
    struct Slow {
        pieces: usize,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    }

    impl Slow {
        fn new(pieces: usize, pause: Duration) -> Self {
            let sleep = Box::pin(sleep(pause));
            Self {
                pieces,
                pause,
                sleep,
            }
        }
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
            if self.pieces == 0 {
                return Poll::Pending;
            }
            ready!(self.sleep.as_mut().poll(context));
            self.pieces -= 1;
            self.sleep = Box::pin(sleep(self.pause));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
        }
    }

    const STALL: Duration = Duration::from_secs(60);

    fn patience(readiness: &Readiness) -> Patience<'_> {
        Patience {
            stall: STALL,
            small_chunks: usize::MAX,
            readiness,
        }
    }

    /// How many pieces came, and how long it took until no more did.
    async fn pieces(body: Slow, readiness: &Readiness) -> (usize, Duration) {
        let begin = Instant::now();
        let mut arriving = Arriving::new(body, patience(readiness));
        let mut count = 0;
        let error = loop {
            match arriving.next().await {
                Ok(piece) => count += usize::from(piece.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), "body_stalled");
        (count, begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_once_it_has_stopped_for_too_long() {
        let readiness = Readiness::default();
        let (count, time) = pieces(Slow::new(0, STALL), &readiness).await;
        assert_eq!((count, time.as_secs()), (0, STALL.as_secs()));
        let pause = Duration::from_millis(59_900);
        let (count, time) = pieces(Slow::new(3, pause), &readiness).await;
        let since = time - 3 * pause;
        assert!(count == 3 && (STALL..=STALL + STALL_TICK).contains(&since));
        let (count, _) = pieces(Slow::new(1, STALL + 2 * STALL_TICK), &readiness).await;
        assert_eq!(count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stopped_is_not_waited_for_when_the_server_exits() {
        let readiness = Readiness::default();
        readiness.set(Stage::Exiting);
        let pause = Duration::from_millis(400);
        let (count, time) = pieces(Slow::new(3, pause), &readiness).await;
        let since = time - 3 * pause;
        assert!(count == 3 && (STALL_TICK..=2 * STALL_TICK).contains(&since));
        let patience = patience(&readiness);
        assert!(!patience.discard(&mut Slow::new(0, pause), 100).await);
    }

    #[tokio::test]
    async fn what_nobody_wants_is_dropped_within_its_limit() {
        let readiness = Readiness::default();
        let patience = patience(&readiness);
        let body = |text: &'static str| Chunks::new([Bytes::from(text)]);
        assert!(patience.discard(&mut body("ab"), 2).await);
        assert!(!patience.discard(&mut body("abc"), 2).await);
    }
}
