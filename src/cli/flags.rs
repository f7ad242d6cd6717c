//! The flags of `despina serve`, and how they are laid over the configuration.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use clap::{ArgAction, Args};

use super::{
    backend_flags::BackendFlags,
    door_flags::{self, DoorFlags},
    log_flags::LogFlags,
    placement_flags::PlacementFlags,
    tls_flags::TlsFlags,
    triton_flags::TritonFlags,
};
use crate::{
    api::ReadyModels,
    api::ResponseCompression,
    config::{Config, Door},
    repository::ControlMode,
};

/// Flags; what is not given keeps what the file or the defaults say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServeFlags {
    /// Read settings from this YAML file (see config/server.yaml for all of them).
    #[arg(long, env = "DESPINA_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Serve the models in this folder. May be given more than once.
    #[arg(
        long,
        alias = "model-store",
        env = "DESPINA_MODEL_REPOSITORY",
        value_name = "FOLDER"
    )]
    model_repository: Vec<PathBuf>,
    /// Who decides which models are loaded: none, poll or explicit.
    #[arg(long, env = "DESPINA_MODEL_CONTROL_MODE", value_name = "MODE")]
    model_control_mode: Option<ControlMode>,
    /// In mode explicit, load this model at start; * is all. May be given more than once.
    #[arg(long, value_name = "MODEL")]
    load_model: Vec<String>,
    /// In mode poll, read the repository again this often.
    #[arg(long, env = "DESPINA_REPOSITORY_POLL_SECS", value_name = "SECONDS")]
    repository_poll_secs: Option<u32>,
    /// In mode poll, load a model when its files have not changed for this long.
    #[arg(long, env = "DESPINA_SETTLE_MS", value_name = "MILLISECONDS")]
    settle_ms: Option<u32>,
    /// Use configs/<NAME>.pbtxt of a model, where there is one.
    #[arg(long, value_name = "NAME")]
    model_config_name: Option<String>,
    /// Load at most this many model versions at the same time.
    #[arg(long, value_name = "COUNT")]
    model_load_thread_count: Option<usize>,
    /// Take model configurations as they are; fill nothing in from the model.
    #[arg(long, action = ArgAction::SetTrue)]
    disable_auto_complete_config: bool,
    /// Triton's older name for the same.
    #[arg(long, value_name = "BOOL", value_parser = boolean, hide = true)]
    strict_model_config: Option<bool>,
    /// Server name in the metadata.
    #[arg(long, env = "DESPINA_ID")]
    id: Option<String>,

    /// Listen on this address with every front door; 0.0.0.0 is every interface.
    #[arg(
        long,
        env = "DESPINA_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    address: Option<String>,
    /// Serve HTTP.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Front doors")]
    allow_http: Option<bool>,
    /// HTTP address.
    #[arg(
        long,
        env = "DESPINA_HTTP_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    http_address: Option<String>,
    /// HTTP port; 0 for any free one.
    #[arg(
        long,
        env = "DESPINA_HTTP_PORT",
        value_name = "PORT",
        help_heading = "Front doors"
    )]
    http_port: Option<u16>,
    /// Serve gRPC.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Front doors")]
    allow_grpc: Option<bool>,
    /// gRPC address.
    #[arg(
        long,
        env = "DESPINA_GRPC_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    grpc_address: Option<String>,
    /// gRPC port; 0 for any free one.
    #[arg(
        long,
        env = "DESPINA_GRPC_PORT",
        value_name = "PORT",
        help_heading = "Front doors"
    )]
    grpc_port: Option<u16>,
    /// Serve the metrics page.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Front doors")]
    allow_metrics: Option<bool>,
    /// Metrics address.
    #[arg(
        long,
        env = "DESPINA_METRICS_ADDRESS",
        value_name = "ADDRESS",
        help_heading = "Front doors"
    )]
    metrics_address: Option<String>,
    /// Metrics port; 0 for any free one.
    #[arg(
        long,
        env = "DESPINA_METRICS_PORT",
        value_name = "PORT",
        help_heading = "Front doors"
    )]
    metrics_port: Option<u16>,
    /// Ask the GPUs for metrics.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Front doors")]
    allow_gpu_metrics: Option<bool>,
    /// Time between two looks at the GPUs.
    #[arg(long, value_name = "MS", help_heading = "Front doors")]
    metrics_interval_ms: Option<u32>,
    /// Largest JSON part of an HTTP request, and of what a request may become by decompression.
    #[arg(long, value_name = "BYTES", value_parser = door_flags::input_size, help_heading = "Front doors")]
    http_max_input_size: Option<usize>,
    /// Compress answers to gRPC's ModelInfer: none, low, medium or high.
    #[arg(long, value_name = "LEVEL", help_heading = "Front doors")]
    grpc_infer_response_compression_level: Option<ResponseCompression>,
    /// Let clients on this machine register shared memory and keep tensors in it.
    #[arg(
        long,
        env = "DESPINA_ALLOW_CLIENT_SHM",
        value_name = "BOOL",
        value_parser = boolean,
        help_heading = "Front doors"
    )]
    allow_client_shm: Option<bool>,
    /// Most responses of one request that its client leaves unread before a decoupled model waits.
    #[arg(long, value_name = "COUNT", help_heading = "Front doors")]
    grpc_max_response_pool_size: Option<usize>,

    /// Let in callers whose API key is in this file.
    #[arg(
        long,
        env = "DESPINA_AUTH_KEYS",
        value_name = "FILE",
        help_heading = "Security"
    )]
    auth_keys: Option<PathBuf>,
    /// Let callers do what the policy in this file allows.
    #[arg(
        long,
        env = "DESPINA_AUTH_POLICY",
        value_name = "FILE",
        help_heading = "Security"
    )]
    auth_policy: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    backends: BackendFlags,
    #[command(flatten)]
    placement: PlacementFlags,
    #[command(flatten)]
    doors: DoorFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    triton: TritonFlags,

    /// End with exit code 1 if a model fails to load at start.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Life")]
    exit_on_error: Option<bool>,
    /// Threads for the front doors; 0 for one for every two processors.
    #[arg(
        long,
        env = "DESPINA_FRONT_DOOR_THREADS",
        value_name = "COUNT",
        help_heading = "Front doors"
    )]
    front_door_threads: Option<usize>,

    /// Be ready only while every model is.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Life")]
    strict_readiness: Option<bool>,
    /// Which models /readyz asks for: all, any or required.
    #[arg(long, value_name = "WHICH", help_heading = "Life")]
    readiness_models: Option<ReadyModels>,
    /// A model that /readyz asks for, and then no others. May be given more than once.
    #[arg(long, value_name = "MODEL", help_heading = "Life")]
    required_model: Vec<String>,
    /// Time for requests in flight to finish after SIGTERM.
    #[arg(
        long,
        env = "DESPINA_EXIT_TIMEOUT_SECS",
        value_name = "SECONDS",
        help_heading = "Life"
    )]
    exit_timeout_secs: Option<u64>,
}

impl ServeFlags {
    /// Lays the flags over `config`.
    ///
    /// # Errors
    /// If a backend's or a trace setting is not known, or a flag of Triton asks for what is not there.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        self.triton.check()?;
        self.apply_repository(config);
        self.apply_doors(config);
        self.placement.apply(&mut config.placement)?;
        self.tls.apply(config)?;
        set(&mut config.id, self.id.clone());
        set(&mut config.exit_on_error, self.exit_on_error);
        set(&mut config.strict_readiness, self.strict_readiness);
        self.apply_readiness(config);
        set(&mut config.front_door_threads, self.front_door_threads);
        set(&mut config.exit_timeout_seconds, self.exit_timeout_secs);
        set(&mut config.limits.json_byte_size, self.http_max_input_size);
        set(
            &mut config.limits.decompressed_byte_size,
            self.http_max_input_size,
        );
        set(
            &mut config.grpc_response_compression,
            self.grpc_infer_response_compression_level,
        );
        set(&mut config.shared_memory.enabled, self.allow_client_shm);
        if self.auth_keys.is_some() {
            config.auth.keys.clone_from(&self.auth_keys);
        }
        if self.auth_policy.is_some() {
            config.auth.policy.clone_from(&self.auth_policy);
        }
        self.apply_gpu_metrics(config);
        let unread_responses = &mut config.limits.unread_responses;
        set(unread_responses, self.grpc_max_response_pool_size);
        set(
            &mut config.models.auto_complete,
            self.strict_model_config.map(|strict| !strict),
        );
        config.models.auto_complete &= !self.disable_auto_complete_config;
        self.backends.apply(config)?;
        self.log.apply(config)?;
        self.doors.apply(config);
        // Triton's test clients hold the first batch back with this.
        if let Some(count) = std::env::var("TRITONSERVER_DELAY_SCHEDULER")
            .ok()
            .and_then(|text| text.parse().ok())
        {
            config.queue.delay_until_requests = count;
        }
        Ok(())
    }

    /// What is worth a line in the log about flags that have no effect.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.triton.notices().chain(self.backends.notices())
    }

    fn apply_readiness(&self, config: &mut Config) {
        let readiness = &mut config.readiness;
        if !self.required_model.is_empty() {
            readiness.required.clone_from(&self.required_model);
            readiness.models = ReadyModels::Required;
        }
        set(&mut readiness.models, self.readiness_models);
    }

    fn apply_gpu_metrics(&self, config: &mut Config) {
        let gpu_metrics = &mut config.gpu_metrics;
        set(&mut gpu_metrics.enabled, self.allow_gpu_metrics);
        let seconds = |milliseconds: u32| f64::from(milliseconds) / 1000.0;
        let interval = self.metrics_interval_ms.map(seconds);
        set(&mut gpu_metrics.interval_seconds, interval);
    }

    fn apply_repository(&self, config: &mut Config) {
        let repository = &mut config.repository;
        if !self.model_repository.is_empty() {
            let mut seen = BTreeSet::new();
            let given = self.model_repository.iter();
            // Triton takes one that is given twice for one, too.
            let unique = given.filter(|folder| seen.insert(folder.as_path()));
            repository.repositories = unique.cloned().collect();
        }
        if !self.load_model.is_empty() {
            repository.load_models.clone_from(&self.load_model);
        }
        if self.model_config_name.is_some() {
            repository.config_name.clone_from(&self.model_config_name);
        }
        set(&mut repository.control_mode, self.model_control_mode);
        set(
            &mut repository.load_thread_count,
            self.model_load_thread_count,
        );
        let seconds = |seconds| std::time::Duration::from_secs(u64::from(seconds));
        set(
            &mut repository.poll_interval,
            self.repository_poll_secs.map(seconds),
        );
        let milliseconds = |milliseconds| std::time::Duration::from_millis(u64::from(milliseconds));
        set(&mut repository.settle, self.settle_ms.map(milliseconds));
    }

    fn apply_doors(&self, config: &mut Config) {
        let doors: [(&mut Door, _, &Option<String>, _); 3] = [
            (
                &mut config.http,
                self.allow_http,
                &self.http_address,
                self.http_port,
            ),
            (
                &mut config.grpc,
                self.allow_grpc,
                &self.grpc_address,
                self.grpc_port,
            ),
            (
                &mut config.metrics,
                self.allow_metrics,
                &self.metrics_address,
                self.metrics_port,
            ),
        ];
        for (door, allow, address, port) in doors {
            set(&mut door.enabled, allow);
            set(
                &mut door.address,
                address.clone().or_else(|| self.address.clone()),
            );
            set(&mut door.port, port);
        }
    }
}

pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// Triton takes booleans in all these ways.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" => Ok(true),
        "false" | "0" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
