//! The flags on what header fields decide.

use clap::Args;

use crate::{admission::Lock, api::HeaderConfig, config::Config};

/// Flags; what is not given keeps what the file or the defaults say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DoorFlags {
    /// Hand HTTP header fields whose names match this pattern on as parameters of requests.
    #[arg(long, value_name = "PATTERN", help_heading = "Header fields")]
    http_header_forward_pattern: Option<String>,
    /// The same for gRPC metadata.
    #[arg(long, value_name = "PATTERN", help_heading = "Header fields")]
    grpc_header_forward_pattern: Option<String>,
    /// Refuse these HTTP calls without the header field KEY: VALUE. May be given more than once.
    /// There are health, metadata, inference, shared-memory, model-config, model-repository,
    /// statistics, trace and logging.
    #[arg(long, value_name = "APIS:KEY=VALUE", help_heading = "Header fields")]
    http_restricted_api: Vec<Lock>,
    /// The same for gRPC calls and the metadata key triton-grpc-protocol-KEY.
    #[arg(long, value_name = "APIS:KEY=VALUE", help_heading = "Header fields")]
    grpc_restricted_protocol: Vec<Lock>,
}

impl DoorFlags {
    /// Lays the flags over `config`.
    pub(super) fn apply(&self, config: &mut Config) {
        let http = (&self.http_header_forward_pattern, &self.http_restricted_api);
        lay(&mut config.http_headers, http);
        let grpc = (
            &self.grpc_header_forward_pattern,
            &self.grpc_restricted_protocol,
        );
        lay(&mut config.grpc_headers, grpc);
    }
}

fn lay(headers: &mut HeaderConfig, (pattern, locks): (&Option<String>, &Vec<Lock>)) {
    if let Some(pattern) = pattern {
        headers.forward.clone_from(pattern);
    }
    if !locks.is_empty() {
        headers.restricted.clone_from(locks);
    }
}
