//! A certificate for `localhost`, and clients that trust it and no other.

use std::{fs, net::SocketAddr, net::TcpStream, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use super::PATIENCE;

/// The files of a certificate, and what its clients need.
pub struct Certified {
    /// The certificate's file.
    pub certificate: String,
    /// The key's file.
    pub key: String,
    config: Arc<ClientConfig>,
}

impl Certified {
    /// A new one, with its files in `folder`.
    pub fn new(folder: &Path) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("key");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("write");
            path.to_str().expect("UTF-8").to_owned()
        };
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).expect("root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            certificate: write("certificate.pem", own.cert.pem()),
            key: write("key.pem", own.signing_key.serialize_pem()),
            config: Arc::new(config),
        }
    }

    /// A connection whose handshake is done by the first use; reads fail after [`PATIENCE`].
    pub fn connect(&self, address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").expect("name");
        let client = ClientConnection::new(Arc::clone(&self.config), name).expect("client");
        let socket = TcpStream::connect(address).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        StreamOwned::new(client, socket)
    }
}
