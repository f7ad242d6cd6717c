//! The flags of `despina perf` on encrypted doors, called as perf_analyzer's.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{ArgAction, Args};

use super::flags::boolean;
use crate::perf::Encryption;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Encryption")]
pub(super) struct PerfTlsFlags {
    /// Over HTTP: 0 takes any certificate.
    #[arg(long, value_name = "0|1", value_parser = boolean, action = ArgAction::Set)]
    ssl_https_verify_peer: Option<bool>,
    /// Over HTTP: 0 takes a certificate for any host; 1 and 2 mean the same.
    #[arg(long, value_name = "0|1|2", value_parser = clap::value_parser!(u8).range(0..=2))]
    ssl_https_verify_host: Option<u8>,
    /// Over HTTP: certificates that are believed, in PEM [default: the system's].
    #[arg(long, value_name = "FILE")]
    ssl_https_ca_certificates_file: Option<PathBuf>,
    /// Over HTTP: our certificates, in PEM.
    #[arg(long, value_name = "FILE", requires = "ssl_https_private_key_file")]
    ssl_https_client_certificate_file: Option<PathBuf>,
    /// Over HTTP: our key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "ssl_https_client_certificate_file"
    )]
    ssl_https_private_key_file: Option<PathBuf>,
    /// Over gRPC: the door is encrypted.
    #[arg(long)]
    ssl_grpc_use_ssl: bool,
    /// Over gRPC: certificates that are believed, in PEM [default: the system's].
    #[arg(long, value_name = "FILE")]
    ssl_grpc_root_certifications_file: Option<PathBuf>,
    /// Over gRPC: our key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "ssl_grpc_certificate_chain_file"
    )]
    ssl_grpc_private_key_file: Option<PathBuf>,
    /// Over gRPC: our certificates, in PEM.
    #[arg(long, value_name = "FILE", requires = "ssl_grpc_private_key_file")]
    ssl_grpc_certificate_chain_file: Option<PathBuf>,
}

impl PerfTlsFlags {
    /// Over HTTP the URL says whether the door is encrypted.
    ///
    /// # Errors
    /// If a flag has no effect.
    pub(super) fn http(&self, url: &str) -> Result<Option<Encryption>> {
        ensure!(!self.has_grpc(), "--ssl-grpc-* are for gRPC: add -i grpc");
        if !url.starts_with("https://") {
            ensure!(
                !self.has_https(),
                "--ssl-https-* have no effect without -u https://HOST:PORT"
            );
            return Ok(None);
        }
        let chain = self.ssl_https_client_certificate_file.clone();
        Ok(Some(Encryption {
            roots: self.ssl_https_ca_certificates_file.clone(),
            verify_peer: self.ssl_https_verify_peer.unwrap_or(true),
            verify_host: self.ssl_https_verify_host != Some(0),
            identity: chain.zip(self.ssl_https_private_key_file.clone()),
        }))
    }

    /// Over gRPC the URL or a flag does.
    ///
    /// # Errors
    /// As [`Self::http`].
    pub(super) fn grpc(&self, url: &str) -> Result<Option<Encryption>> {
        ensure!(!self.has_https(), "--ssl-https-* are for HTTP");
        if !(self.ssl_grpc_use_ssl || url.starts_with("grpcs://")) {
            ensure!(
                !self.has_grpc(),
                "--ssl-grpc-* have no effect without --ssl-grpc-use-ssl"
            );
            return Ok(None);
        }
        let chain = self.ssl_grpc_certificate_chain_file.clone();
        Ok(Some(Encryption {
            roots: self.ssl_grpc_root_certifications_file.clone(),
            identity: chain.zip(self.ssl_grpc_private_key_file.clone()),
            ..Encryption::default()
        }))
    }

    fn has_https(&self) -> bool {
        self.ssl_https_verify_peer.is_some()
            || self.ssl_https_verify_host.is_some()
            || self.ssl_https_ca_certificates_file.is_some()
            || self.ssl_https_client_certificate_file.is_some()
    }

    fn has_grpc(&self) -> bool {
        self.ssl_grpc_use_ssl
            || self.ssl_grpc_root_certifications_file.is_some()
            || self.ssl_grpc_certificate_chain_file.is_some()
    }
}
