//! Accepts connections and lets each be served by its own task until the server stops; then lets
//! the requests in flight finish, and nothing else. The same for HTTP/1.1 and HTTP/2.

use std::{
    convert::Infallible,
    future::Future,
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
    body::{Body, Frame, SizeHint},
    header::{CONNECTION, HeaderValue},
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How long to wait after a failed accept: the usual cause, no free file descriptor, takes time
/// to pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long connections that wait in the kernel's queue are still taken once the server stops.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(10);
/// How long a connection without a request in flight may take to close once the server stops. A
/// client that does not answer is not waited for any longer.
const LINGER: Duration = Duration::from_millis(500);

/// How a client is told that its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// HTTP/1.1: by a header field of its next answer. A connection that is closed instead may have
    /// a request on its way.
    Header,
    /// HTTP/2: by a frame of its own; what the client sent after it, it sends again elsewhere.
    Frame,
}

/// Serves every connection that `listener` accepts, until `shutdown`. Then accepts no more, lets
/// requests in flight finish, closes idle connections, and returns when all are gone. `connect`
/// makes a conversation of a connection; it counts its requests with what it is given.
pub(super) async fn serve<C>(
    listener: TcpListener,
    farewell: Farewell,
    shutdown: impl Future<Output = ()>,
    connect: impl Fn(TokioIo<TcpStream>, InFlight) -> C,
) where
    C: GracefulConnection<Error = hyper::Error> + Send + 'static,
{
    let (stop, stopped) = watch::channel(());
    let begin = |stream: TcpStream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot disable Nagle's algorithm");
        }
        let in_flight = InFlight::default();
        let conversation = connect(TokioIo::new(stream), in_flight.clone());
        tokio::spawn(converse(conversation, in_flight, farewell, stopped.clone()));
    };
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => begin(stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    // Clients that the kernel has let in already may have sent a request.
    let end = tokio::time::Instant::now() + BACKLOG_PATIENCE;
    while let Ok(Ok((stream, _))) = tokio::time::timeout_at(end, listener.accept()).await {
        begin(stream);
    }
    drop((listener, stopped));
    // Fails only if there is no connection left to tell.
    let _ = stop.send(());
    stop.closed().await;
}

/// Serves one connection. `stopped` is held until the connection is gone.
async fn converse<C>(
    conversation: C,
    in_flight: InFlight,
    farewell: Farewell,
    mut stopped: watch::Receiver<()>,
) where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut conversation = pin!(conversation);
    let ended = tokio::select! {
        biased;
        ended = conversation.as_mut() => ended,
        _ = stopped.changed() => end(conversation, &in_flight, farewell).await,
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
    C: GracefulConnection<Error = hyper::Error>,
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
                let before = std::mem::replace(&mut begun, in_flight.begun());
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
    /// Whether answers say that the connection is closed after them.
    closing: AtomicBool,
}

impl InFlight {
    /// Answers one request with `respond`, and counts it until its answer's body is gone.
    pub(super) async fn count<B>(
        self,
        respond: impl Future<Output = Response<B>>,
    ) -> Result<Response<Counted<B>>, Infallible> {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
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

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
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
