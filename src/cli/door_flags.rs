//! The flags on what header fields decide, and on listeners for management.

use clap::Args;

use super::flags::set;
use crate::{
    admission::Lock,
    api::HeaderConfig,
    config::{Config, Door},
};

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
    #[arg(
        long,
        value_name = "APIS:KEY=VALUE",
        value_parser = |text: &str| Lock::parse(text, "api"),
        help_heading = "Header fields"
    )]
    http_restricted_api: Vec<Lock>,
    /// The same for gRPC calls and the metadata key triton-grpc-protocol-KEY.
    #[arg(
        long,
        value_name = "APIS:KEY=VALUE",
        value_parser = |text: &str| Lock::parse(text, "protocol"),
        help_heading = "Header fields"
    )]
    grpc_restricted_protocol: Vec<Lock>,
    /// Answer management (load, unload, shared-memory regions, trace and log settings) on this HTTP
    /// port, and nowhere else; 0 for any free one.
    #[arg(
        long,
        env = "DESPINA_MANAGEMENT_HTTP_PORT",
        value_name = "PORT",
        help_heading = "Front doors"
    )]
    management_http_port: Option<u16>,
    /// Address of that port; 127.0.0.1 unless given, whatever --address says.
    #[arg(
        long,
        env = "DESPINA_MANAGEMENT_HTTP_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    management_http_address: Option<String>,
    /// The same for gRPC.
    #[arg(
        long,
        env = "DESPINA_MANAGEMENT_GRPC_PORT",
        value_name = "PORT",
        help_heading = "Front doors"
    )]
    management_grpc_port: Option<u16>,
    /// Address of that port.
    #[arg(
        long,
        env = "DESPINA_MANAGEMENT_GRPC_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    management_grpc_address: Option<String>,
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
        let http = (self.management_http_port, &self.management_http_address);
        open(&mut config.management_http, http);
        let grpc = (self.management_grpc_port, &self.management_grpc_address);
        open(&mut config.management_grpc, grpc);
    }
}

/// A port that is named is opened.
fn open(door: &mut Door, (port, address): (Option<u16>, &Option<String>)) {
    door.enabled |= port.is_some();
    set(&mut door.port, port);
    set(&mut door.address, address.clone());
}

fn lay(headers: &mut HeaderConfig, (pattern, locks): (&Option<String>, &Vec<Lock>)) {
    if let Some(pattern) = pattern {
        headers.forward.clone_from(pattern);
    }
    if !locks.is_empty() {
        headers.restricted.clone_from(locks);
    }
}

/// Reads `--http-max-input-size`.
pub(super) fn input_size(text: &str) -> Result<usize, String> {
    match text.parse::<i128>() {
        Ok(size) if size <= 0 => Err("--http-max-input-size must be greater than 0".to_owned()),
        Ok(size) => usize::try_from(size).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_size_is_a_positive_number() {
        assert_eq!(input_size("1"), Ok(1));
        for (wrong, words) in [
            ("0", "must be greater than 0"),
            ("-1024", "must be greater than 0"),
            ("1M", "invalid digit"),
            ("36893488147419103232", "out of range"),
        ] {
            let error = input_size(wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }
}
