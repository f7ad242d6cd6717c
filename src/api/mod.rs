//! The front doors: KServe v2 with Triton's extensions over HTTP and gRPC, and the metrics page.
//! Turns bytes into requests and answers into bytes; decides nothing about models, queues or
//! devices, and opens no ports of its own.

mod admit;
mod answers;
mod arriving;
mod attended;
mod body;
mod classification;
mod compression;
mod describe;
pub mod grpc;
mod headers;
pub mod http;
mod listener;
mod load;
mod logging;
mod long_work;
pub mod metrics;
mod probes;
mod readiness;
mod request;
mod shared_memory;
mod socket;
mod status;
pub mod tls;
mod trace;

use std::{sync::Arc, time::Duration};

use self::arriving::Patience;
pub use self::{
    admit::Interior,
    compression::{Encoding, Places, ResponseCompression},
    headers::{HeaderConfig, HeaderRules},
    listener::Port,
    probes::{ReadinessPolicy, ReadyModels},
    readiness::{Readiness, Stage},
    request::{InferRequest, OutputFormats},
};
use crate::{
    admission::{Budget, Gate, Limits},
    error::{Error, Result},
};

/// What every front door is handed.
#[derive(Debug)]
pub struct Api {
    /// Who may do what.
    pub gate: Gate,
    /// The rooms that only admitted calls reach.
    pub interior: Interior,
    /// What HTTP header fields decide.
    pub http_headers: HeaderRules,
    /// What gRPC metadata decide.
    pub grpc_headers: HeaderRules,
    /// Whether management is answered at listeners of its own only ([`Port::for_management`]).
    pub has_management: bool,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// The bytes that requests in flight share.
    pub budget: Arc<Budget>,
    /// Places for bodies that are compressed or decompressed.
    pub compressions: Places,
    /// The JSON of earlier requests, within the same bounds.
    pub json: http::Memo,
    /// How answers over gRPC are compressed.
    pub grpc_compression: ResponseCompression,
    /// How far the server is in its own life; shared with whoever runs it.
    pub readiness: Arc<Readiness>,
    /// Whether the server counts as ready only while every known version is
    /// (Triton's `--strict-readiness`).
    pub strict_readiness: bool,
    /// When `/readyz` says yes.
    pub readiness_policy: ReadinessPolicy,
    /// The server's name in its metadata (Triton's `--id`; Triton's default is `triton`).
    pub server_name: String,
    /// The server's version in its metadata.
    pub server_version: String,
}

impl Api {
    /// # Errors
    /// `Unavailable` while the server is exiting.
    fn refuse_when_exiting(&self) -> Result<()> {
        if self.readiness.stage() == Stage::Exiting {
            return Err(Error::unavailable("exiting", "Server exiting"));
        }
        Ok(())
    }

    /// How long a body may stop arriving.
    fn patience(&self) -> Patience<'_> {
        Patience {
            stall: Duration::from_secs(self.limits.body_timeout_seconds),
            small_chunks: self.limits.small_chunks_per_body,
            readiness: &self.readiness,
        }
    }
}

/// A version as clients write it; empty asks for the highest one that is ready.
///
/// # Errors
/// `InvalidArgument` unless it is empty or digits that fit 64 bits.
fn parse_version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .map(Some)
        .ok_or_else(|| {
            Error::invalid_argument(
                "model_version",
                format!(
                    "failed to get model version from specified version string '{}', version \
                     should be an integral value > 0",
                    excerpt(text)
                ),
            )
        })
}

/// The beginning of a client's text, escaped, for messages.
fn excerpt(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::{
        admit::{Caller, Entrance},
        *,
    };
    use crate::{
        admission::{Identity, Verb},
        backend::{BackendRegistry, identity::Identity as Echo, repeat::Repeat},
        model::{Loader, LoaderConfig},
        model_config::{InputSpec, ModelConfig, OutputSpec, Scheduling, VersionPolicy},
        repository::{self, Registry, Repository},
        shared_memory::{self, Regions},
        tensor::Datatype,
    };

    /// A front door's state without any model and without a control loop behind it.
    pub(crate) fn empty_api() -> Arc<Api> {
        let readiness = Arc::new(Readiness::default());
        readiness.set(Stage::Ready);
        Arc::new(Api {
            gate: Gate::open(),
            interior: Interior::new(
                Arc::default(),
                Repository::detached(),
                Regions::new(&shared_memory::Config::default(), 0, None),
            ),
            http_headers: HeaderRules::default(),
            grpc_headers: HeaderRules::default(),
            has_management: false,
            limits: Limits::default(),
            budget: Arc::new(Budget::new(usize::MAX)),
            compressions: Places::new(1),
            json: http::Memo::new(Limits::default()),
            grpc_compression: ResponseCompression::default(),
            readiness,
            strict_readiness: true,
            readiness_policy: ReadinessPolicy::default(),
            server_name: "triton".to_owned(),
            server_version: "1.2.3".to_owned(),
        })
    }

    /// A front door's state, and the folder of the models behind it.
    pub(crate) struct Models {
        pub(crate) api: Arc<Api>,
        _folder: tempfile::TempDir,
    }

    /// Loads these models: name and configuration of backends without files.
    pub(crate) async fn with_models(models: &[(&str, &str)]) -> Models {
        let folder = tempfile::tempdir().unwrap();
        for (name, config) in models {
            let model = folder.path().join(name);
            std::fs::create_dir_all(model.join("1")).unwrap();
            std::fs::write(model.join("config.pbtxt"), config).unwrap();
        }
        let backends = BackendRegistry::default()
            .with(Arc::new(Echo))
            .with(Arc::new(Repeat));
        let loader = Arc::new(Loader::new(backends, LoaderConfig::default()));
        let config = repository::Config {
            repositories: vec![folder.path().to_owned()],
            ..repository::Config::default()
        };
        let registry = Arc::new(Registry::default());
        let repository = Repository::start(&config, Arc::clone(&registry), loader).unwrap();
        let failures = repository.initial_load_finished().await.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        let mut api = empty_api();
        let regions = Regions::new(&shared_memory::Config::default(), 0, None);
        let interior = Interior::new(registry, repository, regions);
        Arc::get_mut(&mut api).unwrap().interior = interior;
        Models {
            api,
            _folder: folder,
        }
    }

    /// Somebody at the door of [`empty_api`].
    pub(in crate::api) fn caller() -> Caller {
        Caller::new(empty_api(), Identity::Anonymous, Entrance::Http)
    }

    /// A model's configuration with these inputs and one output.
    pub(crate) fn model_config(
        max_batch_size: usize,
        inputs: &[(&str, Datatype, &[i64])],
    ) -> ModelConfig {
        ModelConfig {
            proto: crate::proto::inference::ModelConfig::default(),
            name: "m".to_owned(),
            backend: "identity".to_owned(),
            platform: String::new(),
            version_policy: VersionPolicy::All,
            max_batch_size,
            inputs: inputs
                .iter()
                .map(|&(name, datatype, dims)| InputSpec {
                    name: name.into(),
                    datatype,
                    dims: dims.into(),
                    reshape: None,
                    optional: false,
                })
                .collect(),
            outputs: vec![OutputSpec {
                name: "OUT".into(),
                datatype: Datatype::Fp32,
                dims: [4].as_slice().into(),
                reshape: None,
                label_filename: None,
            }],
            scheduling: Scheduling::Default,
            instance_groups: Vec::new(),
            parameters: BTreeMap::new(),
            warmup: Vec::new(),
            decoupled: false,
        }
    }

    #[test]
    fn versions_are_digits_that_fit() {
        assert_eq!(parse_version("").unwrap(), None);
        assert_eq!(parse_version("007").unwrap(), Some(7));
        assert_eq!(
            parse_version("18446744073709551615").unwrap(),
            Some(u64::MAX)
        );
        for bad in ["+1", "-1", "1.0", "x", "18446744073709551616", " 1"] {
            assert!(parse_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn excerpts_are_short_and_escaped() {
        assert_eq!(excerpt("a\nb"), "a\\nb");
        assert_eq!(excerpt(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
    }

    #[test]
    fn readiness_follows_the_stage() {
        let caller = caller();
        let api = caller.admit(Verb::Health, "").unwrap();
        assert!(api.ready().unwrap());
        api.readiness.set(Stage::Starting);
        assert!(!api.ready().unwrap());
        api.readiness.set(Stage::Exiting);
        assert_eq!(api.ready().unwrap_err().message(), "Server exiting");
    }
}
