//! The flags of encryption: Triton's for gRPC, and the same for the other doors.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::flags::boolean;
use crate::{
    api::tls::{self, ClientCertificates},
    config::Config,
};

/// One door's flags, under whose names is up to clap.
#[derive(Clone, Copy)]
struct Given<'a> {
    door: &'a str,
    use_ssl: Option<bool>,
    mutual: Option<bool>,
    certificate: Option<&'a PathBuf>,
    key: Option<&'a PathBuf>,
    roots: Option<&'a PathBuf>,
}

/// The flags of all doors.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Security")]
pub(super) struct TlsFlags {
    /// Encrypt gRPC connections.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    grpc_use_ssl: Option<bool>,
    /// Encrypt gRPC connections, and turn away clients without a certificate of --grpc-root-cert.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    grpc_use_ssl_mutual: Option<bool>,
    /// The certificate for gRPC (PEM).
    #[arg(long, value_name = "FILE")]
    grpc_server_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    grpc_server_key: Option<PathBuf>,
    /// The roots of gRPC clients' certificates (PEM); only used with --grpc-use-ssl-mutual.
    #[arg(long, value_name = "FILE")]
    grpc_root_cert: Option<PathBuf>,
    /// Encrypt HTTP connections.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    http_use_ssl: Option<bool>,
    /// Encrypt HTTP connections, and turn away clients without a certificate of --http-root-cert.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    http_use_ssl_mutual: Option<bool>,
    /// The certificate for HTTP (PEM).
    #[arg(long, value_name = "FILE")]
    http_server_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    http_server_key: Option<PathBuf>,
    /// The roots of HTTP clients' certificates (PEM); only used with --http-use-ssl-mutual.
    #[arg(long, value_name = "FILE")]
    http_root_cert: Option<PathBuf>,
    /// Encrypt the metrics page.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    metrics_use_ssl: Option<bool>,
    /// Encrypt the metrics page, and turn away clients without a certificate of
    /// --metrics-root-cert.
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    metrics_use_ssl_mutual: Option<bool>,
    /// The certificate for the metrics page (PEM).
    #[arg(long, value_name = "FILE")]
    metrics_server_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    metrics_server_key: Option<PathBuf>,
    /// The roots of certificates for the metrics page (PEM); only used with
    /// --metrics-use-ssl-mutual.
    #[arg(long, value_name = "FILE")]
    metrics_root_cert: Option<PathBuf>,
}

impl TlsFlags {
    /// Lays the flags over `config`.
    ///
    /// # Errors
    /// If a flag would have no effect, or one that is needed is missing.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        let grpc = Given {
            door: "grpc",
            use_ssl: self.grpc_use_ssl,
            mutual: self.grpc_use_ssl_mutual,
            certificate: self.grpc_server_cert.as_ref(),
            key: self.grpc_server_key.as_ref(),
            roots: self.grpc_root_cert.as_ref(),
        };
        let http = Given {
            door: "http",
            use_ssl: self.http_use_ssl,
            mutual: self.http_use_ssl_mutual,
            certificate: self.http_server_cert.as_ref(),
            key: self.http_server_key.as_ref(),
            roots: self.http_root_cert.as_ref(),
        };
        let metrics = Given {
            door: "metrics",
            use_ssl: self.metrics_use_ssl,
            mutual: self.metrics_use_ssl_mutual,
            certificate: self.metrics_server_cert.as_ref(),
            key: self.metrics_server_key.as_ref(),
            roots: self.metrics_root_cert.as_ref(),
        };
        grpc.apply(&mut config.grpc.tls)?;
        http.apply(&mut config.http.tls)?;
        metrics.apply(&mut config.metrics.tls)
    }
}

impl Given<'_> {
    fn apply(self, tls: &mut tls::Config) -> Result<()> {
        let door = self.door;
        let is_mutual = self.mutual == Some(true);
        let files = [self.certificate, self.key, self.roots];
        if !is_mutual && self.use_ssl != Some(true) {
            if files.iter().any(Option::is_some) {
                bail!(
                    "--{door}-server-cert, -key and -root-cert have no effect without --{door}-use-ssl=true"
                );
            }
            if self.use_ssl == Some(false) {
                *tls = tls::Config::default();
            }
            return Ok(());
        }
        for (target, file) in [
            (&mut tls.certificate, self.certificate),
            (&mut tls.key, self.key),
        ] {
            if file.is_some() {
                *target = file.cloned();
            }
        }
        if tls.certificate.is_none() || tls.key.is_none() {
            bail!("--{door}-use-ssl needs --{door}-server-cert and --{door}-server-key");
        }
        if is_mutual {
            if self.roots.is_some() {
                tls.client_roots = self.roots.cloned();
            }
            if tls.client_roots.is_none() {
                bail!("--{door}-use-ssl-mutual needs --{door}-root-cert");
            }
            tls.client_certificates = ClientCertificates::Required;
        }
        Ok(())
    }
}
