//! Builds every room once and hands each what it may know. The only place that knows them all.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use crate::{
    admission::{Budget, Gate},
    api::{Api, HeaderRules, Interior, Places, Readiness, http},
    backend::{
        BackendRegistry, identity::Identity, image_preprocess::ImagePreprocess,
        onnxruntime::OnnxRuntime, repeat::Repeat, simulated::Simulated, tensorrt::TensorRt,
    },
    config::Config,
    device::{Devices, Inventory},
    model::{Loader, LoaderConfig},
    model_config::Environment,
    placement::Placer,
    repository::{self, Registry, Repository},
    shared_memory::Regions,
    telemetry::{logging::Logging, nvml::GpuWatch},
    trace::Tracing,
};

/// What a server is made of.
pub struct Rooms {
    /// What the doors are handed.
    pub api: Arc<Api>,
    /// The control loop.
    pub repository: Repository,
    /// The model versions there are.
    pub registry: Arc<Registry>,
    /// What is traced.
    pub tracing: Arc<Tracing>,
    /// Looks after the GPUs, where there are any.
    pub gpu_watch: Option<GpuWatch>,
}

/// Builds the rooms and starts the control loop.
///
/// # Errors
/// If a repository is not there or its settings contradict each other.
pub fn assemble(config: &Config, logging: Arc<Logging>) -> Result<Rooms> {
    let gate = Gate::new(&config.auth, &config.limits).context("auth")?;
    let registry = Arc::new(Registry::default());
    let inventory = Inventory::probe();
    tell(&inventory);
    let devices = Devices::new(&inventory, &config.gpu);
    let has_gpus = !inventory.gpus.is_empty();
    let gpu_watch = has_gpus
        .then(|| watch(&devices))
        .transpose()
        .map_err(anyhow::Error::msg)?;
    let loader = Arc::new(loader(config, &inventory, &devices)?);
    let settings = repository::Config {
        config_byte_limit: config.limits.config_byte_size,
        ..config.repository.clone()
    };
    let tracing = Arc::new(Tracing::start(&config.trace)?);
    let repository = Repository::start(&settings, Arc::clone(&registry), loader)?;
    let api = Api {
        gate,
        interior: Interior::new(
            Arc::clone(&registry),
            repository.clone(),
            Regions::new(
                &config.shared_memory,
                config.limits.shared_memory_regions,
                has_gpus.then(|| Arc::clone(&devices) as _),
            ),
        )
        .with_logging(logging)
        .with_tracing(Arc::clone(&tracing))
        .with_devices(devices),
        http_headers: HeaderRules::http(&config.http_headers)
            .map_err(|why| anyhow!("http_headers: {why}"))?,
        grpc_headers: HeaderRules::grpc(&config.grpc_headers)
            .map_err(|why| anyhow!("grpc_headers: {why}"))?,
        has_management: config.management_http.enabled || config.management_grpc.enabled,
        limits: config.limits.clone(),
        budget: Arc::new(Budget::new(config.limits.in_flight_byte_size)),
        compressions: Places::new(config.limits.compressions),
        json: http::Memo::new(config.limits.clone()),
        grpc_compression: config.grpc_response_compression,
        readiness: Arc::new(Readiness::default()),
        strict_readiness: config.strict_readiness,
        readiness_policy: config.readiness.clone(),
        server_name: config.id.clone(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Rooms {
        api: Arc::new(api),
        repository,
        registry,
        tracing,
        gpu_watch,
    })
}

/// Tells the devices what the driver says of them.
fn watch(devices: &Arc<Devices>) -> Result<GpuWatch, String> {
    let devices = Arc::clone(devices);
    GpuWatch::start(move |uuid, trouble| devices.hear(uuid, trouble))
}

/// Says in the log what there is to run on.
fn tell(inventory: &Inventory) {
    for gpu in &inventory.gpus {
        tracing::info!(
            ordinal = gpu.ordinal,
            name = %gpu.name,
            uuid = %gpu.uuid,
            memory_byte_size = gpu.memory_byte_size,
            numa_node = gpu.numa_node,
            "GPU found"
        );
    }
    for part in &inventory.mig_devices {
        let used = inventory.gpus.iter().find(|gpu| gpu.uuid == part.uuid);
        tracing::info!(
            uuid = %part.uuid,
            gpu_uuid = %part.gpu_uuid,
            gpu_slices = part.gpu_slices,
            compute_slices = part.compute_slices,
            memory_byte_size = part.memory_total_bytes,
            ordinal = used.map(|gpu| gpu.ordinal),
            "MIG device found; CUDA shows it to this process if it has an ordinal"
        );
    }
    if let Some(reason) = &inventory.no_gpu_reason {
        tracing::info!(reason, "no GPU found");
    }
}

fn loader(config: &Config, inventory: &Inventory, devices: &Arc<Devices>) -> Result<Loader> {
    let placer = Placer::new(inventory, &config.placement).map_err(anyhow::Error::msg)?;
    Ok(Loader::new(
        backends(config, inventory, devices),
        LoaderConfig {
            environment: environment(config, inventory),
            scheduler: config.queue.clone(),
            devices: Arc::clone(devices),
            placer: Arc::new(placer),
        },
    ))
}

/// What builds plans on this machine.
pub fn engine_builder(config: &Config) -> Arc<TensorRt> {
    let inventory = Inventory::probe();
    let devices = Devices::new(&inventory, &config.gpu);
    let usable = config.placement.usable_gpus(&inventory);
    TensorRt::new(config.tensorrt.clone(), &inventory, &usable, &devices)
}

/// Every backend of this server.
pub(super) fn backends(
    config: &Config,
    inventory: &Inventory,
    devices: &Arc<Devices>,
) -> BackendRegistry {
    let usable = config.placement.usable_gpus(inventory);
    BackendRegistry::default()
        .with(Arc::new(Identity))
        .with(Arc::new(ImagePreprocess))
        .with(Arc::new(Simulated))
        .with(Arc::new(Repeat))
        .with(OnnxRuntime::new(
            config.onnxruntime.clone(),
            inventory.cpu_count,
        ))
        .with(TensorRt::new(
            config.tensorrt.clone(),
            inventory,
            &usable,
            devices,
        ))
}

/// What models' configurations may ask for on a machine like that.
pub(super) fn environment(config: &Config, inventory: &Inventory) -> Environment {
    Environment {
        default_max_batch_size: config.models.default_max_batch_size,
        auto_complete: config.models.auto_complete,
        gpus: config.placement.usable_gpus(inventory),
        min_compute_capability: config.placement.min_compute_capability,
        auto_placement: config.placement.auto,
        auto_on_gpu: true,
    }
}
