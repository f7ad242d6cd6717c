//! What can be set about a door's encryption.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a door's connections are encrypted; not at all unless a certificate is named.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM file: the server's certificate, and those that lead from it to a root.
    pub certificate: Option<PathBuf>,
    /// PEM file: the certificate's private key.
    pub key: Option<PathBuf>,
    /// PEM file: the roots of clients' certificates, which are asked for if it is set.
    pub client_roots: Option<PathBuf>,
    /// Whether clients without a certificate are turned away, if certificates are asked for.
    pub client_certificates: ClientCertificates,
}

/// What becomes of clients without a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They are turned away.
    #[default]
    Required,
    /// They are let in, and are anonymous unless they have other credentials.
    Optional,
}

impl Config {
    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some()
    }

    /// # Errors
    /// One sentence, if settings are there that have no effect, or one is missing. `door` is the
    /// door's name.
    pub fn check(&self, door: &str) -> Result<(), String> {
        let (certificate, key) = (self.certificate.is_some(), self.key.is_some());
        if certificate != key {
            let (there, missing) = if certificate {
                ("certificate", "key")
            } else {
                ("key", "certificate")
            };
            return Err(format!("{door}.tls has a {there} but no {missing}"));
        }
        if !certificate && self.client_roots.is_some() {
            return Err(format!(
                "{door}.tls.client_roots has no effect without a certificate and a key"
            ));
        }
        Ok(())
    }

    /// Every file that it names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key, &self.client_roots]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}
