//! The server's configuration: every room's settings in one place, read from `server.yaml`.
//! Environment and flags are laid over it by `cli`; this room knows only the file and the rules
//! that concern more than one room.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

pub use crate::strict_yaml::FileError;
use crate::{
    admission,
    api::{HeaderConfig, ReadinessPolicy, ReadyModels, ResponseCompression, tls},
    backend::{onnxruntime, tensorrt},
    device, placement, repository, scheduler, shared_memory, strict_yaml,
    telemetry::logging,
    trace,
};

/// More threads than any machine's front doors can use are a mistake.
const MOST_FRONT_DOOR_THREADS: usize = 1024;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The server's name in its metadata.
    pub id: String,
    /// The HTTP door.
    pub http: Door,
    /// The gRPC door.
    pub grpc: Door,
    /// The metrics page.
    pub metrics: Door,
    /// An HTTP door that is for management too, which the others then are not.
    pub management_http: Door,
    /// The same over gRPC.
    pub management_grpc: Door,
    /// Threads that read requests and write answers, for all doors; 0 for one for every two
    /// processors.
    pub front_door_threads: usize,
    /// How answers to gRPC's `ModelInfer` are compressed.
    pub grpc_response_compression: ResponseCompression,
    /// What the metrics page says of GPUs.
    pub gpu_metrics: crate::telemetry::nvml::Config,
    /// Which models are served, and who decides it.
    pub repository: repository::Config,
    /// What holds for every model.
    pub models: Models,
    /// Which devices models may use, and how.
    pub placement: placement::Config,
    /// Bounds of every model's queue.
    pub queue: scheduler::Config,
    /// The `onnxruntime` backend.
    pub onnxruntime: onnxruntime::Config,
    /// The `tensorrt` backend.
    pub tensorrt: tensorrt::Config,
    /// What each GPU that is used gets.
    pub gpu: device::Config,
    /// Tensors in memory that clients share.
    pub shared_memory: shared_memory::Config,
    /// Who callers are, and what they may do.
    pub auth: admission::auth::Config,
    /// What HTTP header fields decide.
    pub http_headers: HeaderConfig,
    /// What gRPC metadata decide.
    pub grpc_headers: HeaderConfig,
    /// Bounds on what clients may send.
    pub limits: admission::Limits,
    /// Logs.
    pub log: logging::Config,
    /// Traces.
    pub trace: trace::Config,
    /// End with exit code 1 if a model fails to load at start.
    pub exit_on_error: bool,
    /// Ready only while every known model version is.
    pub strict_readiness: bool,
    /// When `/readyz` says yes.
    pub readiness: ReadinessPolicy,
    /// Seconds that requests in flight have to finish after SIGTERM.
    pub exit_timeout_seconds: u64,
}

/// Where a front door listens.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Door {
    /// Whether it is opened.
    pub enabled: bool,
    /// The address: a host name or an IP address. `0.0.0.0` is every interface.
    pub address: String,
    /// The port; 0 for any free one.
    pub port: u16,
    /// Encryption.
    pub tls: tls::Config,
}

/// What holds for every model.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Whether missing fields of a model's configuration are filled in from the model.
    pub auto_complete: bool,
    /// `max_batch_size` of batchable models that set none.
    pub default_max_batch_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: "triton".to_owned(),
            http: Door::on(8000),
            grpc: Door::on(8001),
            metrics: Door::on(8002),
            management_http: Door::closed(8003),
            management_grpc: Door::closed(8004),
            front_door_threads: 0,
            grpc_response_compression: ResponseCompression::default(),
            gpu_metrics: Default::default(),
            repository: repository::Config::default(),
            models: Models::default(),
            placement: placement::Config::default(),
            queue: scheduler::Config::default(),
            onnxruntime: onnxruntime::Config::default(),
            tensorrt: tensorrt::Config::default(),
            gpu: device::Config::default(),
            shared_memory: shared_memory::Config::default(),
            auth: admission::auth::Config::default(),
            http_headers: HeaderConfig::default(),
            grpc_headers: HeaderConfig::default(),
            limits: admission::Limits::default(),
            log: logging::Config::default(),
            trace: trace::Config::default(),
            exit_on_error: false,
            strict_readiness: true,
            readiness: ReadinessPolicy::default(),
            exit_timeout_seconds: 30,
        }
    }
}

impl Config {
    /// Threads for the front doors of a machine with so many processors. The rest is for the
    /// instances; and threads that share what a model counts pay for it.
    pub fn front_door_thread_count(&self, cpu_count: usize) -> usize {
        match self.front_door_threads {
            0 => (cpu_count / 2).max(1),
            count => count,
        }
    }
}

impl Default for Door {
    fn default() -> Self {
        Self::on(0)
    }
}

impl Door {
    fn on(port: u16) -> Self {
        Self {
            enabled: true,
            address: "127.0.0.1".to_owned(),
            port,
            tls: tls::Config::default(),
        }
    }

    fn closed(port: u16) -> Self {
        Self {
            enabled: false,
            ..Self::on(port)
        }
    }
}

impl Default for Models {
    fn default() -> Self {
        Self {
            auto_complete: true,
            default_max_batch_size: 4,
        }
    }
}

/// Reads `server.yaml`; what it does not set keeps its default.
///
/// # Errors
/// If it cannot be read or holds anything unknown.
pub fn read(path: &Path) -> Result<Config, FileError> {
    strict_yaml::read(path)
}

impl Config {
    /// Checks what concerns more than one setting.
    ///
    /// # Errors
    /// One sentence that names the settings.
    pub fn check(&self) -> Result<(), String> {
        if !self.http.enabled && !self.grpc.enabled {
            return Err("http and grpc are both disabled: nobody could reach a model".to_owned());
        }
        self.gpu_metrics.interval()?;
        if self.readiness.models == ReadyModels::Required && self.readiness.required.is_empty() {
            return Err(
                "readiness.models is required, but readiness.required names none".to_owned(),
            );
        }
        if self.front_door_threads > MOST_FRONT_DOOR_THREADS {
            return Err(format!(
                "front_door_threads is {}, the limit is {MOST_FRONT_DOOR_THREADS}",
                self.front_door_threads
            ));
        }
        let mut doors = BTreeMap::new();
        for (name, door) in [
            ("http", &self.http),
            ("grpc", &self.grpc),
            ("metrics", &self.metrics),
            ("management_http", &self.management_http),
            ("management_grpc", &self.management_grpc),
        ] {
            if door.enabled {
                door.tls.check(name)?;
            }
            if !door.enabled || door.port == 0 {
                continue;
            }
            if let Some(other) = doors.insert((&door.address, door.port), name) {
                return Err(format!(
                    "{other} and {name} would both listen on {}:{}",
                    door.address, door.port
                ));
            }
        }
        self.limits.check()
    }

    /// How long requests in flight have to finish after SIGTERM.
    pub fn exit_timeout(&self) -> Duration {
        Duration::from_secs(self.exit_timeout_seconds)
    }
}
