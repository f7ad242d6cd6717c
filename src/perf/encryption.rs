//! TLS to servers: who is believed, who we are, and a socket that may be encrypted.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::wire::Out;

/// Where systems keep the certificates that they believe.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// How an encrypted door is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// A file of certificates, in PEM, that are believed; the system's if there is none.
    pub roots: Option<PathBuf>,
    /// Whether the server must prove who it is.
    pub verify_peer: bool,
    /// Whether its certificate must be for the host that is asked.
    pub verify_host: bool,
    /// Files with our certificates and our key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Default for Encryption {
    fn default() -> Self {
        Self {
            roots: None,
            verify_peer: true,
            verify_host: true,
            identity: None,
        }
    }
}

impl Encryption {
    /// What connections to that host need, for a protocol as TLS calls it.
    ///
    /// # Errors
    /// If a file cannot be read or has not what it should have.
    pub(super) fn connector(&self, host: &str, protocol: &[u8]) -> Result<Connector> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier()?));
        let mut config = match &self.identity {
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("no private key in {}", key.display()))?;
                builder.with_client_auth_cert(certificates(chain)?, key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.push(protocol.to_vec());
        let name = ServerName::try_from(host.to_owned());
        Ok(Connector {
            config: Arc::new(config),
            name: name.with_context(|| format!("{host} is no name of a host"))?,
        })
    }

    fn verifier(&self) -> Result<Verifier> {
        let provider = provider();
        let chain = if self.verify_peer {
            let mut roots = RootCertStore::empty();
            let file = self.roots.clone().map_or_else(system_roots, Ok)?;
            let (_, ignored) = roots.add_parsable_certificates(certificates(&file)?);
            if self.roots.is_some() {
                ensure!(
                    ignored == 0,
                    "{} has certificates that cannot be used",
                    file.display()
                );
            }
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Some(builder.build()?)
        } else {
            None
        };
        Ok(Verifier {
            provider,
            chain,
            verify_host: self.verify_host,
        })
    }
}

/// A client that speaks `protocol` and takes any certificate: fit for asking yes or no, and for nothing
/// else.
///
/// # Errors
/// If there is no version of TLS that it could speak.
pub fn unverified(protocol: &[u8]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Verifier {
        provider: Arc::clone(&provider),
        chain: None,
        verify_host: false,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols.push(protocol.to_vec());
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn system_roots() -> Result<PathBuf> {
    let found = SYSTEM_ROOTS.map(PathBuf::from).into_iter();
    let mut found = found.filter(|path| path.is_file());
    found
        .next()
        .context("the system has no certificates that it believes; name a file with some")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.with_context(|| file.display().to_string())?;
    if certificates.is_empty() {
        bail!("no certificate in {}", file.display());
    }
    Ok(certificates)
}

/// Believes as much as is wanted; that the server has the certificate's key, it must prove in any case.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None` believes every certificate.
    chain: Option<Arc<WebPkiServerVerifier>>,
    verify_host: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = chain.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // The name is looked at last, when the rest was found to be right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.verify_host => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Makes connections to one host encrypted.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection's bytes, which may be encrypted.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Socket {
    /// On a stream that blocks; returns when both sides know each other.
    pub(super) fn open(mut stream: TcpStream, connector: Option<&Connector>) -> io::Result<Self> {
        let Some(Connector { config, name }) = connector else {
            return Ok(Self {
                stream,
                session: None,
            });
        };
        let session = ClientConnection::new(Arc::clone(config), name.clone());
        let mut session = session.map_err(io::Error::other)?;
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self {
            stream,
            session: Some(Box::new(session)),
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether there are bytes to be written that no `Out` has any more.
    pub(super) fn wants_write(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.wants_write())
    }

    /// Writes what can be written without waiting; true if that was everything.
    pub(super) fn send(&mut self, out: &mut Out) -> io::Result<bool> {
        let Some(session) = &mut self.session else {
            return out.write(&mut self.stream);
        };
        loop {
            if !written(session, &mut self.stream)? {
                return Ok(false);
            }
            if out.is_empty() {
                return Ok(true);
            }
            out.write(&mut Filling(session))?;
        }
    }

    /// Reads what is there; 0 at the end.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.stream.read(buffer);
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// Whether a session has nothing more to write.
fn written(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A session's room for bytes that are to be encrypted; when it is full, the stream is next.
struct Filling<'a>(&'a mut ClientConnection);

impl Write for Filling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.writer().write(bytes)? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
