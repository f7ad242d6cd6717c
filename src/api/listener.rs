//! Accepts connections and lets each be served by its own task until the server stops; then lets
//! the requests in flight finish, and nothing else. The same for HTTP/1.1 and HTTP/2.

use std::{
    convert::Infallible,
    future::{self, Future},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
    rt::bounds::Http2ServerConnExec,
    server::conn::{http1, http2},
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    attended::Attended,
    body::BoxError,
    socket::Socket,
    tls::{Handshakes, Stream, Tls},
};
use crate::admission::{Identity, Limits};

/// How long to wait after a failed accept: the usual cause, no free file descriptor, takes time
/// to pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long connections that wait in the kernel's queue are still taken once the server stops.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(10);
/// How long a connection without a request in flight may take to close once the server stops. A
/// client that does not answer is not waited for any longer.
const LINGER: Duration = Duration::from_millis(500);

/// Where a door's clients come in.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    tls: Option<Tls>,
    /// Whether it is for management too.
    pub(super) is_for_management: bool,
}

impl Port {
    /// One whose connections are encrypted if there is a certificate.
    pub fn new(listener: TcpListener, tls: Option<Tls>) -> Self {
        Self {
            listener,
            tls,
            is_for_management: false,
        }
    }

    /// The same, where management is answered even if it is nowhere else.
    #[must_use]
    pub fn for_management(self) -> Self {
        Self {
            is_for_management: true,
            ..self
        }
    }
}

/// How a client is told that its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// HTTP/1.1: by a header field of its next answer. A connection that is closed instead may have
    /// a request on its way.
    Header,
    /// HTTP/2: by a frame of its own; what the client sent after it, it sends again elsewhere.
    Frame,
}

/// A connection with its protocol and what answers it.
pub(super) trait Conversation: Future<Output = hyper::Result<()>> {
    /// Ends it after the requests that are under way.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S> Conversation for http1::Connection<TokioIo<Stream>, S>
where
    S: HttpService<Incoming, Error = Infallible, ResBody: Body<Error: Into<BoxError>> + 'static>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::Connection::graceful_shutdown(self);
    }
}

impl<T, S, E> Conversation for http2::Connection<T, S, E>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, Error = Infallible, ResBody: Body<Error: Into<BoxError>> + 'static>,
    E: Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

/// How a door's connections end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// How their clients are told.
    pub(super) farewell: Farewell,
    /// How long one may be open before its client says anything.
    pub(super) silence_limit: Duration,
    /// How long one may be open without a request: idle, or with a head that never becomes whole.
    /// `None` for ever.
    pub(super) idle_limit: Option<Duration>,
    /// How many there may be at the same time.
    pub(super) connections: usize,
    /// How many requests one may carry.
    pub(super) requests: usize,
}

impl Ending {
    /// As `limits` say; idle connections are closed only if they are not asked by other means whether
    /// their clients are still there.
    pub(super) fn new(farewell: Farewell, limits: &Limits) -> Self {
        let silence_limit = Duration::from_secs(limits.header_timeout_seconds.max(1));
        Self {
            farewell,
            silence_limit,
            idle_limit: (farewell == Farewell::Header).then_some(silence_limit),
            connections: limits.connections,
            requests: limits.requests_per_connection,
        }
    }
}

/// Serves every connection that comes in at `port` until `shutdown`; those that are too many are
/// closed at once. Then accepts no more, lets
/// requests in flight finish, closes idle connections, and returns when all are gone. `connect`
/// makes a conversation of a connection and of who its client's certificate stands for; it counts
/// its requests with what it is given.
pub(super) async fn serve<C>(
    port: Port,
    ending: Ending,
    shutdown: impl Future<Output = ()>,
    connect: impl Fn(TokioIo<Stream>, InFlight, Identity) -> C + Send + Sync + 'static,
) where
    C: Conversation + Send + 'static,
{
    let (stop, stopped) = watch::channel(());
    let limit = ending.connections.clamp(1, Semaphore::MAX_PERMITS);
    let (places, connect) = (Arc::new(Semaphore::new(limit)), Arc::new(connect));
    let begin = |stream: Stream, identity| {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(limit, "too many connections, one is closed");
            return;
        };
        let in_flight = InFlight::new(place, ending.requests);
        let (connect, counted) = (Arc::clone(&connect), in_flight.clone());
        let connect = move |stream| Box::pin(connect(TokioIo::new(stream), counted, identity));
        tokio::spawn(receive(stream, connect, in_flight, ending, stopped.clone()));
    };
    let Port { listener, tls, .. } = port;
    let mut handshakes = Handshakes::new(tls.as_ref());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            shaken = handshakes.next() => {
                if let Some((stream, identity)) = shaken {
                    begin(stream, identity);
                }
                continue;
            }
            accepted = listener.accept(), if handshakes.has_room() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                disable_delay(&stream);
                if let Some(stream) = handshakes.begin(Socket::new(stream)) {
                    begin(stream, Identity::Anonymous);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    // Clients that the kernel has let in already may have sent a request, but not before a
    // handshake.
    let end = tokio::time::Instant::now() + BACKLOG_PATIENCE;
    while tls.is_none()
        && let Ok(Ok((stream, _))) = tokio::time::timeout_at(end, listener.accept()).await
    {
        disable_delay(&stream);
        begin(Stream::Plain(Socket::new(stream)), Identity::Anonymous);
    }
    drop((listener, stopped));
    // Fails only if there is no connection left to tell.
    let _ = stop.send(());
    stop.closed().await;
}

/// Without it, an answer in two pieces waits for the client's acknowledgement of the first.
fn disable_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
}

/// Serves one connection. Until its client says something, it has no buffers and no conversation.
async fn receive<C>(
    stream: Stream,
    connect: impl FnOnce(Stream) -> Pin<Box<C>>,
    in_flight: InFlight,
    ending: Ending,
    stopped: watch::Receiver<()>,
) where
    C: Conversation,
{
    let mut stop = stopped.clone();
    let is_silent = tokio::select! {
        biased;
        () = stream.spoken_to() => false,
        // What is on its way is still answered.
        _ = stop.changed() => false,
        () = tokio::time::sleep(ending.silence_limit) => true,
    };
    if is_silent {
        return;
    }
    match ending.farewell {
        Farewell::Header => {
            let socket = stream.socket();
            let conversation = Attended::new(connect(stream), in_flight.clone(), socket);
            converse(pin!(conversation), in_flight, ending, stopped).await;
        }
        // HTTP/2 is read at all times.
        Farewell::Frame => converse(connect(stream).as_mut(), in_flight, ending, stopped).await,
    }
}

/// Serves a connection whose client speaks. `stopped` is held until the connection is gone.
async fn converse<C>(
    mut conversation: Pin<&mut C>,
    in_flight: InFlight,
    ending: Ending,
    mut stopped: watch::Receiver<()>,
) where
    C: Conversation,
{
    let farewell = ending.farewell;
    let ended = tokio::select! {
        biased;
        ended = conversation.as_mut() => ended,
        _ = stopped.changed() => end(conversation.as_mut(), &in_flight, farewell).await,
        () = in_flight.idle_for(ending.idle_limit) => Ok(()),
        () = in_flight.0.spent.notified(), if farewell == Farewell::Frame => {
            end(conversation.as_mut(), &in_flight, farewell).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Ends a conversation in order, and gives up on one that only lingers.
async fn end<C>(
    mut conversation: Pin<&mut C>,
    in_flight: &InFlight,
    farewell: Farewell,
) -> Result<(), hyper::Error>
where
    C: Conversation,
{
    if farewell == Farewell::Header {
        in_flight.0.closing.store(true, Ordering::Relaxed);
        tokio::select! {
            biased;
            ended = conversation.as_mut() => return ended,
            () = tokio::time::sleep(LINGER) => {}
        }
    }
    conversation.as_mut().graceful_shutdown();
    let mut begun = in_flight.begun();
    loop {
        tokio::select! {
            biased;
            ended = conversation.as_mut() => return ended,
            () = tokio::time::sleep(LINGER) => {
                let before = mem::replace(&mut begun, in_flight.begun());
                if before == begun && in_flight.is_idle() {
                    return Ok(());
                }
            }
        }
    }
}

/// Counts one connection's requests, from their header fields to the last byte of their answers.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    /// How many may begin.
    most: usize,
    /// Tells that they have.
    spent: Notify,
    /// Whether answers say that the connection is closed after them.
    closing: AtomicBool,
    /// The connection's place among those that may be open.
    _place: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// No request yet, and at most `most`, on a connection that has this place.
    fn new(place: OwnedSemaphorePermit, most: usize) -> Self {
        Self(Arc::new(Counts {
            most,
            _place: Some(place),
            ..Counts::default()
        }))
    }

    /// Answers one request with `respond`, and counts it until its answer's body is gone.
    pub(super) async fn count<B>(
        self,
        respond: impl Future<Output = Response<B>>,
    ) -> Result<Response<Counted<B>>, Infallible> {
        if self.0.begun.fetch_add(1, Ordering::Relaxed) + 1 >= self.0.most {
            self.0.closing.store(true, Ordering::Relaxed);
            self.0.spent.notify_one();
        }
        let permit = Permit(self.0);
        let mut response = respond.await;
        if permit.0.closing.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Ok(response.map(|body| Counted {
            body,
            _permit: permit,
        }))
    }

    /// Waits until no request has been in flight, and none has begun, for `limit` and at most a
    /// quarter more. One timer for all requests of a connection: one for each costs more than it
    /// finds out.
    async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return future::pending().await;
        };
        let tick = limit / 4;
        let (mut waited, mut begun) = (Duration::ZERO, self.begun());
        while waited < limit {
            tokio::time::sleep(tick).await;
            let before = mem::replace(&mut begun, self.begun());
            let is_idle = before == begun && self.is_idle();
            waited = if is_idle {
                waited + tick
            } else {
                Duration::ZERO
            };
        }
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether every request that has begun is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.begun() == self.0.ended.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Permit(Arc<Counts>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer's body, and the count of its request.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    _permit: Permit,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn idle_after(in_flight: &InFlight, start: Instant) -> Duration {
        in_flight.idle_for(Some(LIMIT)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_idle_after_the_limit() {
        let start = Instant::now();
        let idle = idle_after(&InFlight::default(), start).await;
        assert!((LIMIT..=LIMIT * 5 / 4).contains(&idle), "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_keeps_a_connection_and_its_end_starts_the_wait() {
        let start = Instant::now();
        let in_flight = InFlight::default();
        let request = in_flight.clone().count(async {
            tokio::time::sleep(LIMIT * 10).await;
            Response::new(http_body_util::Empty::<bytes::Bytes>::new())
        });
        let request = async { drop(request.await) };
        let (idle, ()) = tokio::join!(idle_after(&in_flight, start), request);
        let since_end = idle - LIMIT * 10;
        assert!((LIMIT..=LIMIT * 5 / 4).contains(&since_end), "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn short_requests_in_between_keep_a_connection() {
        let in_flight = InFlight::default();
        let requests = async {
            for _ in 0..20 {
                tokio::time::sleep(LIMIT / 2).await;
                let answer = async { Response::new(http_body_util::Empty::<bytes::Bytes>::new()) };
                drop(in_flight.clone().count(answer).await);
            }
            Instant::now()
        };
        let start = Instant::now();
        let (idle, last) = tokio::join!(idle_after(&in_flight, start), requests);
        assert!(start + idle >= last + LIMIT, "{idle:?}");
    }
}
