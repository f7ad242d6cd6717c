//! `despina health`: asks a running server whether it is ready, for container engines, which run a
//! command in the container and look at its exit code.
//!
//! It sends nothing that is secret and believes nothing but yes or no, so it does not check the
//! certificate of an encrypted door, which rarely names the loopback address: Kubernetes' probes do
//! the same.

mod exchange;

use std::{process::ExitCode, str::FromStr, time::Duration};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};
use tokio::{runtime, time::timeout};

/// The server cannot be asked, or gives no answer that says anything.
const NO_ANSWER: u8 = 2;
/// What is asked for over HTTP, unless the URL has a path.
const READY_PATH: &str = "/readyz";

#[derive(Args, Debug)]
pub(super) struct HealthFlags {
    /// Which door to ask: http, https, grpc or grpcs, ://, a host and a port.
    ///
    /// Over HTTP a path may follow, instead of /readyz. Over gRPC the standard health service is
    /// asked.
    #[arg(
        long,
        env = "DESPINA_HEALTH_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000"
    )]
    url: Target,
    /// Wait this long for all of it.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    timeout: Duration,
}

/// Asks once. The exit code is 0 if the server is ready, 1 if it says that it is not, and 2 if it does
/// not say.
pub(super) fn run(flags: &HealthFlags) -> ExitCode {
    match ask(&flags.url, flags.timeout) {
        Ok(Health { is_ready, words }) => {
            println!("{words}");
            ExitCode::from(u8::from(!is_ready))
        }
        Err(error) => {
            eprintln!("despina: {error:#}");
            ExitCode::from(NO_ANSWER)
        }
    }
}

fn ask(target: &Target, limit: Duration) -> Result<Health> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime
        .block_on(async { timeout(limit, exchange::ask(target)).await })
        .unwrap_or_else(|_| Err(anyhow!("no answer within {limit:?}")))
        .with_context(|| format!("{} cannot be asked", target.authority))
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
struct Health {
    is_ready: bool,
    /// In its own words, for people.
    words: String,
}

/// A door.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    protocol: Protocol,
    is_encrypted: bool,
    authority: Authority,
    port: u16,
}

/// What a door speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Protocol {
    /// HTTP/1.1, and what to ask for.
    Http(PathAndQuery),
    /// gRPC.
    Grpc,
}

impl Target {
    /// The host, without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected http, https, grpc or grpcs, ://, a host and a port, got '{text}'");
        let parts = text.parse::<Uri>().map_err(|_| expected())?.into_parts();
        let scheme = parts.scheme.ok_or_else(expected)?;
        let authority = parts.authority.ok_or_else(expected)?;
        let port = authority.port_u16().ok_or_else(expected)?;
        let path = parts.path_and_query.filter(|path| path.as_str() != "/");
        let (protocol, is_encrypted) = match (scheme.as_str(), path) {
            (scheme @ ("http" | "https"), path) => {
                let path = path.unwrap_or(PathAndQuery::from_static(READY_PATH));
                (Protocol::Http(path), scheme == "https")
            }
            (scheme @ ("grpc" | "grpcs"), None) => (Protocol::Grpc, scheme == "grpcs"),
            (_, _) => return Err(expected()),
        };
        Ok(Self {
            protocol,
            is_encrypted,
            authority,
            port,
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text.parse().ok().map(Duration::try_from_secs_f64);
    match duration {
        Some(Ok(duration)) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_the_protocol_the_door_and_over_http_the_path() {
        for (url, protocol, is_encrypted, host, port) in [
            (
                "http://127.0.0.1:8000",
                Some("/readyz"),
                false,
                "127.0.0.1",
                8000,
            ),
            (
                "http://localhost:80/",
                Some("/readyz"),
                false,
                "localhost",
                80,
            ),
            (
                "https://[::1]:8443/livez?a=b",
                Some("/livez?a=b"),
                true,
                "::1",
                8443,
            ),
            ("grpc://despina:8001", None, false, "despina", 8001),
            ("grpcs://despina:8001/", None, true, "despina", 8001),
        ] {
            let target: Target = url.parse().unwrap();
            let protocol = protocol.map_or(Protocol::Grpc, |path| {
                Protocol::Http(PathAndQuery::from_static(path))
            });
            assert_eq!(target.protocol, protocol, "{url}");
            assert_eq!(target.is_encrypted, is_encrypted, "{url}");
            assert_eq!((target.host(), target.port), (host, port), "{url}");
        }
    }

    #[test]
    fn what_names_no_door_is_refused_with_what_it_should_be() {
        for url in [
            "",
            "127.0.0.1:8000",
            "http://127.0.0.1",
            "ftp://127.0.0.1:21",
            "grpc://127.0.0.1:8001/livez",
            "/readyz",
        ] {
            let error = url.parse::<Target>().unwrap_err();
            assert!(error.contains("a host and a port"), "{url}: {error}");
        }
    }

    #[test]
    fn a_wait_has_an_end_and_a_length() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "inf", "NaN", "soon", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
