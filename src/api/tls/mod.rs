//! Encryption of connections with rustls: certificates and keys, which are followed while the
//! server runs, handshakes, of which only so many are under way at a time, and who a client's
//! certificate stands for.

mod config;
mod files;
mod stream;
mod subject;
#[cfg(test)]
mod tests;

use std::{fmt, future, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

pub(super) use self::stream::Stream;
pub use self::{
    config::{ClientCertificates, Config},
    files::TlsError,
};
use crate::{
    admission::{Identity, Limits},
    api::socket::Socket,
    follow::{Follow, Followed},
};

/// A door's certificate and key, as they are now.
pub struct Tls {
    server: Arc<Followed<ServerConfig>>,
    handshakes: usize,
    timeout: Duration,
}

/// The only protocol that a door speaks, as ALPN writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC needs it.
    Http2,
}

impl Tls {
    /// Reads what the configuration of the door called `door` names; `None` if it names nothing.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn new(
        door: &str,
        config: &Config,
        protocol: Protocol,
        limits: &Limits,
    ) -> Result<Option<Self>, TlsError> {
        if !config.is_on() {
            return Ok(None);
        }
        let settings = config.clone();
        let alpn: &[u8] = match protocol {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        };
        let what = format!("certificates of the {door} door");
        let read = move || files::read(&settings, alpn);
        Ok(Some(Self {
            server: Arc::new(Followed::new(what, config.files(), read)?),
            handshakes: limits.handshakes.max(1),
            timeout: Duration::from_secs(limits.handshake_timeout_seconds.max(1)),
        }))
    }

    /// What has to be read again when its files change.
    pub fn followed(&self) -> Arc<dyn Follow> {
        Arc::clone(&self.server) as Arc<dyn Follow>
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("handshakes", &self.handshakes)
            .finish_non_exhaustive()
    }
}

/// An encrypted connection, and who its client's certificate stands for.
type Shaken = (Stream, Identity);

/// The handshakes of one door that are under way. Dropping it gives them up.
pub(super) struct Handshakes<'t> {
    tls: Option<&'t Tls>,
    under_way: JoinSet<Option<Shaken>>,
}

impl<'t> Handshakes<'t> {
    pub(super) fn new(tls: Option<&'t Tls>) -> Self {
        Self {
            tls,
            under_way: JoinSet::new(),
        }
    }

    /// Whether one more may begin. Until then connections wait in the kernel's queue.
    pub(super) fn has_room(&self) -> bool {
        self.tls
            .is_none_or(|tls| self.under_way.len() < tls.handshakes)
    }

    /// Begins one; gives back a connection that needs none.
    pub(super) fn begin(&mut self, socket: Socket) -> Option<Stream> {
        let Some(tls) = self.tls else {
            return Some(Stream::Plain(socket));
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.server.load()));
        let limit = tls.timeout;
        self.under_way.spawn(async move {
            match timeout(limit, shake(acceptor, socket)).await {
                Ok(shaken) => shaken,
                Err(_) => {
                    tracing::debug!(?limit, "a handshake took too long");
                    None
                }
            }
        });
        None
    }

    /// The next handshake that ends; `None` if it failed, after which there is room for another all the
    /// same. Waits for ever if none is under way.
    pub(super) async fn next(&mut self) -> Option<Shaken> {
        match self.under_way.join_next().await {
            None => future::pending().await,
            // A failure was logged where it was found.
            Some(ended) => ended.ok().flatten(),
        }
    }
}

async fn shake(acceptor: TlsAcceptor, socket: Socket) -> Option<Shaken> {
    let stream = acceptor
        .accept(socket)
        .await
        .inspect_err(|error| tracing::debug!(%error, "a handshake failed"))
        .ok()?;
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = certificates
        .and_then(<[_]>::first)
        .and_then(|certificate| subject::principal(certificate))
        .map_or(Identity::Anonymous, Identity::Known);
    Some((Stream::Tls(Box::new(stream)), identity))
}
