//! Accepts HTTP/1.1 connections and lets each be served by its own task until the server stops.

use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::admission::Limits;

/// How long to wait after a failed accept: the usual cause, no free file descriptor, takes time
/// to pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The smallest header limit that the HTTP implementation can keep.
const LEAST_HEADER_BYTE_SIZE: usize = 1024;

/// Serves every connection that `listener` accepts, until `shutdown`. Then accepts no more, lets
/// requests in flight finish, closes idle connections, and returns when all are gone.
pub(super) async fn serve<S, F, B>(
    listener: TcpListener,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
    respond: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error = Infallible> + Send + 'static,
{
    let http = protocol(limits);
    let (stop, stopped) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = converse(http.clone(), stream, stopped.clone(), respond.clone());
                tokio::spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop((listener, stopped));
    // Fails only if there is no connection left to tell.
    let _ = stop.send(());
    stop.closed().await;
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_timeout_seconds.max(1)))
        .max_header_size(limits.header_byte_size.max(LEAST_HEADER_BYTE_SIZE));
    http
}

/// Serves one connection. `stopped` is held until the connection is gone.
async fn converse<S, F, B>(
    http: http1::Builder,
    stream: TcpStream,
    mut stopped: watch::Receiver<()>,
    respond: S,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error = Infallible> + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::body::Bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::{mpsc, oneshot},
        task::JoinHandle,
    };

    use super::*;

    /// A request that is being answered: the answer waits until this is used or dropped.
    type Pending = oneshot::Sender<()>;

    struct Door {
        stream: TcpStream,
        requests: mpsc::UnboundedReceiver<Pending>,
        stop: oneshot::Sender<()>,
        served: JoinHandle<()>,
    }

    impl Door {
        async fn open() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let (arrived, requests) = mpsc::unbounded_channel();
            let served = tokio::spawn(async move {
                let shutdown = async { drop(stopped.await) };
                serve(listener, &Limits::default(), shutdown, move |_| {
                    let (pending, released) = oneshot::channel();
                    arrived.send(pending).unwrap();
                    async move {
                        released.await.unwrap();
                        Response::new(Empty::<Bytes>::new())
                    }
                })
                .await;
            });
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(request).await.unwrap();
            Self {
                stream,
                requests,
                stop,
                served,
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_drops_the_future_of_its_request() {
        let mut door = Door::open().await;
        let mut pending = door.requests.recv().await.unwrap();
        drop(door.stream);
        pending.closed().await;
        door.stop.send(()).unwrap();
        door.served.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_shutdown_has_begun() {
        let mut door = Door::open().await;
        let pending = door.requests.recv().await.unwrap();
        door.stop.send(()).unwrap();
        tokio::task::yield_now().await;
        assert!(!door.served.is_finished());
        pending.send(()).unwrap();
        let mut answer = String::new();
        door.stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        door.served.await.unwrap();
    }
}
