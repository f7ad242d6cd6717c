//! Where the doors listen: sockets, certificates, and what is said about both in the log.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::{
    admission::Limits,
    api::{
        Port,
        tls::{Protocol, Tls},
    },
    config::{Config, Door},
    follow::Follow,
};

/// Where a server listens; `None` for doors that are disabled.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Addresses {
    pub http: Option<Address>,
    pub grpc: Option<Address>,
    pub metrics: Option<Address>,
    pub management_http: Option<Address>,
    pub management_grpc: Option<Address>,
}

/// Where one door listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its address and port.
    pub socket: SocketAddr,
    /// Whether its connections are encrypted.
    pub is_encrypted: bool,
}

/// The doors' ports, bound.
pub(super) struct Ports {
    pub(super) http: Option<Port>,
    pub(super) grpc: Option<Port>,
    pub(super) metrics: Option<Port>,
    pub(super) management_http: Option<Port>,
    pub(super) management_grpc: Option<Port>,
    pub(super) addresses: Addresses,
    /// Certificates, which have to be read again when their files change.
    pub(super) followed: Vec<Arc<dyn Follow>>,
}

impl Ports {
    /// Binds the ports of the doors that are enabled.
    ///
    /// # Errors
    /// If a port is taken, or a certificate or key cannot be used.
    pub(super) async fn bind(config: &Config) -> Result<Self> {
        let mut followed = Vec::new();
        let (mut ports, mut addresses) = ([const { None }; 5], [None; 5]);
        let doors = [
            ("http", &config.http, Protocol::Http1),
            ("grpc", &config.grpc, Protocol::Http2),
            ("metrics", &config.metrics, Protocol::Http1),
            ("management_http", &config.management_http, Protocol::Http1),
            ("management_grpc", &config.management_grpc, Protocol::Http2),
        ];
        for (index, (name, door, protocol)) in doors.into_iter().enumerate() {
            let Some((port, address, tls)) = bind(name, door, protocol, &config.limits).await?
            else {
                continue;
            };
            if config.auth.is_on() && !address.is_encrypted && !address.socket.ip().is_loopback() {
                tracing::warn!(
                    door = name,
                    "keys and tokens travel unencrypted: set {name}.tls, or see to it elsewhere"
                );
            }
            followed.extend(tls);
            (ports[index], addresses[index]) = (Some(port), Some(address));
        }
        let [http, grpc, metrics, management_http, management_grpc] = ports;
        let addresses = Addresses {
            http: addresses[0],
            grpc: addresses[1],
            metrics: addresses[2],
            management_http: addresses[3],
            management_grpc: addresses[4],
        };
        Ok(Self {
            http,
            grpc,
            metrics,
            management_http: management_http.map(Port::for_management),
            management_grpc: management_grpc.map(Port::for_management),
            addresses,
            followed,
        })
    }
}

type Bound = (Port, Address, Option<Arc<dyn Follow>>);

async fn bind(
    name: &str,
    door: &Door,
    protocol: Protocol,
    limits: &Limits,
) -> Result<Option<Bound>> {
    if !door.enabled {
        return Ok(None);
    }
    let tls = Tls::new(name, &door.tls, protocol, limits).with_context(|| format!("{name}.tls"))?;
    let cannot_listen = || format!("{name} cannot listen on {}:{}", door.address, door.port);
    let listener = TcpListener::bind((door.address.as_str(), door.port))
        .await
        .with_context(cannot_listen)?;
    let address = Address {
        socket: listener.local_addr().with_context(cannot_listen)?,
        is_encrypted: tls.is_some(),
    };
    let followed = tls.as_ref().map(Tls::followed);
    Ok(Some((Port::new(listener, tls), address, followed)))
}
