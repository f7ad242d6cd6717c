//! From PEM files to what a handshake needs.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::config::{ClientCertificates, Config};

/// Larger files hold no certificates.
const MOST_BYTE_SIZE: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct TlsError {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Reads what `config` names. `protocol` is the only one that clients may choose, as ALPN writes it.
///
/// # Errors
/// The file, and why it cannot be used.
pub(super) fn read(config: &Config, protocol: &[u8]) -> Result<ServerConfig, TlsError> {
    let nothing = Path::new("");
    let certificate_file = config.certificate.as_deref().unwrap_or(nothing);
    let key_file = config.key.as_deref().unwrap_or(nothing);
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(certificate_file, error))?;
    let builder = match &config.client_roots {
        None => builder.with_no_client_auth(),
        Some(file) => {
            builder.with_client_cert_verifier(verifier(file, provider, config.client_certificates)?)
        }
    };
    let (chain, key) = (certificates(certificate_file)?, private_key(key_file)?);
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| refuse(key_file, error))?;
    server.alpn_protocols = vec![protocol.to_vec()];
    Ok(server)
}

fn verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
    required: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| refuse(file, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match required {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| refuse(file, error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = contents(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(file, error))?;
    if certificates.is_empty() {
        return Err(refuse(file, "there is no certificate in PEM form in it"));
    }
    Ok(certificates)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&contents(file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => refuse(
            file,
            "there is no private key in PEM form in it that is not encrypted",
        ),
        error => refuse(file, error),
    })
}

fn contents(file: &Path) -> Result<Vec<u8>, TlsError> {
    let byte_size = fs::metadata(file)
        .map_err(|error| refuse(file, error))?
        .len();
    if byte_size > MOST_BYTE_SIZE {
        let why = format!("is {byte_size} bytes long, the limit is {MOST_BYTE_SIZE}");
        return Err(refuse(file, why));
    }
    fs::read(file).map_err(|error| refuse(file, error))
}

fn refuse(file: &Path, reason: impl ToString) -> TlsError {
    TlsError {
        file: file.display().to_string(),
        reason: reason.to_string(),
    }
}
