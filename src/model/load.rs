//! Assembles a model version: configuration, backend, scheduler, instances. Blocks; called on a
//! loading thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{
    Leases, Model, ModelFolder, labels,
    stand_in::StandIn,
    warmup::{self, Warmup},
};
use crate::{
    backend::{Backend, BackendError, BackendRegistry, Executor, LoadSpec},
    device::{Account, Device, Devices},
    error::{Error, Result},
    inference::{ModelName, Statistics},
    instance::{BatchSource, Instance, Peers, Signature, Starting},
    model_config::{self, ConfigError, Environment, ModelConfig},
    placement::{self, Footprint, Placer, Reservation},
    proto::inference as pb,
    scheduler::{self, Scheduler, Timer},
};

/// Settings that all models share.
#[derive(Clone, Debug, Default)]
pub struct LoaderConfig {
    /// What normalising a configuration takes from the server.
    pub environment: Environment,
    /// Bounds of every model's queue.
    pub scheduler: scheduler::Config,
    /// Gives instances their devices.
    pub placer: Arc<Placer>,
    /// Devices for instances.
    pub devices: Arc<Devices>,
}

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The model's name.
    pub name: ModelName,
    /// The version's number.
    pub version: u64,
    /// The model's folder; the version's is `<folder>/<version>`.
    pub model_folder: ModelFolder,
    /// The configuration as read, not yet completed; default if there is none.
    pub config: pb::ModelConfig,
}

/// Loads model versions.
pub struct Loader {
    pub(super) backends: BackendRegistry,
    pub(super) config: LoaderConfig,
    /// Of all the models' queues.
    timer: Timer,
}

impl Loader {
    /// A loader with these backends.
    pub fn new(backends: BackendRegistry, config: LoaderConfig) -> Self {
        Self {
            backends,
            config,
            timer: Timer::default(),
        }
    }

    /// Loads, warms up and returns the version, ready to serve. Blocks.
    ///
    /// # Errors
    /// Why it cannot be served; nothing stays allocated.
    pub fn load(&self, request: &LoadRequest) -> Result<Arc<Model>> {
        let start = Instant::now();
        match self.sourced(request)? {
            Some(sourced) => self.load_sourced(request, sourced, start),
            None => self.assemble(request, self.prepare(request)?, None, start),
        }
    }

    /// Loads and warms up what is prepared.
    pub(super) fn assemble(
        &self,
        request: &LoadRequest,
        mut prepared: Prepared,
        stand_in: Option<StandIn>,
        start: Instant,
    ) -> Result<Arc<Model>> {
        let mut reservation = self.place(request, &mut prepared)?;
        let config = &prepared.config;
        let labels = labels::read(config, &request.model_folder)?;
        let statistics = Arc::new(Statistics::default());
        self.timer.start().map_err(|error| {
            Error::internal(
                "queue_timer",
                format!("cannot start a thread for the queues: {error}"),
            )
        })?;
        let scheduler = self.scheduler(config, &statistics);
        let mut engine = self.engine(request, &prepared, &scheduler, &statistics)?;
        reservation.measure(engine.shares());
        engine.reservation = Some(reservation);
        Ok(Arc::new(Model {
            name: request.name.clone(),
            version: request.version,
            labels,
            statistics,
            load_duration: start.elapsed(),
            infer: scheduler,
            engine,
            stand_in,
            _folder: request.model_folder.clone(),
            leases: Arc::new(Leases::default()),
            config: prepared.config,
        }))
    }

    pub(super) fn prepare(&self, request: &LoadRequest) -> Result<Prepared> {
        let version_folder = request.model_folder.join(request.version.to_string());
        let mut proto = request.config.clone();
        model_config::complete_from_files(&mut proto, &request.name, &version_folder)?;
        let backend = Arc::clone(self.backends.backend(&proto.backend)?);
        backend.ready()?;
        let file = model_file(&proto, backend.as_ref(), &version_folder)?;
        // Reading a model may take as long as loading it: only where something is missing. Where
        // nothing is, the backend checks the configuration against what it loads.
        if (proto.input.is_empty() || proto.output.is_empty())
            && let Some(engine) = backend.inspect(&file)?
        {
            model_config::complete_from_engine(&mut proto, &engine, &self.config.environment)?;
        }
        let (environment, engine_fault) = with_engine(&self.config.environment, backend.as_ref());
        Ok(Prepared {
            config: ModelConfig::from_proto(proto, &environment)?,
            backend,
            file,
            engine_fault,
            devices: Arc::clone(&self.config.devices),
        })
    }

    /// Gives every instance its device, in the configuration.
    fn place(&self, request: &LoadRequest, prepared: &mut Prepared) -> Result<Reservation> {
        let Prepared {
            config,
            engine_fault,
            ..
        } = prepared;
        let version_folder = request.model_folder.join(request.version.to_string());
        let footprint = Footprint::of(config, &version_folder)?;
        let placer = &self.config.placer;
        placer.leave_out(self.config.devices.lost());
        Ok(placer.place(config, request.version, footprint, engine_fault.as_deref())?)
    }

    fn scheduler(&self, config: &ModelConfig, statistics: &Arc<Statistics>) -> Arc<Scheduler> {
        Scheduler::new(
            &self.config.scheduler,
            config,
            Arc::clone(statistics),
            &self.timer,
        )
    }

    fn engine(
        &self,
        request: &LoadRequest,
        prepared: &Prepared,
        scheduler: &Arc<Scheduler>,
        statistics: &Arc<Statistics>,
    ) -> Result<Engine> {
        let config = Arc::new(prepared.config.clone());
        let signature = Arc::new(Signature {
            inputs: config.inputs.clone(),
            outputs: config.outputs.clone(),
            has_batch_dimension: config.max_batch_size > 0,
            decoupled: config.decoupled,
        });
        let samples = Arc::new(warmup::batches(&config, &request.model_folder)?);
        // Passive instances are loaded like the others but wait at a queue that stays empty.
        let unused = self.scheduler(&config, statistics);
        let engine = Engine {
            schedulers: [Arc::clone(scheduler), Arc::clone(&unused)],
            instances: Mutex::default(),
            reservation: None,
            peers: Arc::default(),
            unused_peers: Arc::default(),
        };
        let starting: Vec<_> = placement::instances(&config.instance_groups)
            .map(|(name, group, device)| {
                let (source, peers): (Arc<dyn BatchSource>, _) = if group.passive {
                    (unused.clone(), &engine.unused_peers)
                } else {
                    (scheduler.clone(), &engine.peers)
                };
                let affinity = self.config.placer.affinity(group, device);
                let load = prepared.loading(&name, device, &config, &samples);
                Instance::start(
                    &name,
                    affinity.cloned(),
                    load,
                    source,
                    Arc::clone(peers),
                    Arc::clone(&signature),
                    Arc::clone(statistics),
                )
            })
            .collect();
        engine.adopt(starting)?;
        Ok(engine)
    }
}

/// What a model is loaded from.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) config: ModelConfig,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) file: PathBuf,
    /// Why the engine cannot use the GPUs that there are.
    pub(super) engine_fault: Option<String>,
    pub(super) devices: Arc<Devices>,
}

impl Prepared {
    /// What an executor of that name is made from.
    pub(super) fn spec<'a>(&'a self, instance: &'a str) -> LoadSpec<'a> {
        LoadSpec {
            file: &self.file,
            config: &self.config,
            instance,
            devices: &self.devices,
        }
    }

    /// What an instance's thread does first: load its executor and warm it up.
    fn loading(
        &self,
        instance: &str,
        device: Device,
        config: &Arc<ModelConfig>,
        samples: &Arc<Vec<Warmup>>,
    ) -> impl FnOnce() -> Result<Box<dyn Executor>, BackendError> + Send + 'static {
        let (config, samples) = (Arc::clone(config), Arc::clone(samples));
        let (backend, instance) = (Arc::clone(&self.backend), instance.to_owned());
        let (file, devices) = (self.file.clone(), Arc::clone(&self.devices));
        move || {
            let spec = LoadSpec {
                file: &file,
                config: &config,
                instance: &instance,
                devices: &devices,
            };
            let mut executor = backend.load(&spec, device)?;
            warmup::run(executor.as_mut(), &samples)?;
            Ok(executor)
        }
    }
}

/// The environment for models of that backend, and why it cannot use the GPUs, if so.
pub fn with_engine(
    environment: &Environment,
    backend: &dyn Backend,
) -> (Environment, Option<String>) {
    let first = environment.gpus.first();
    let fault = first.and_then(|&gpu| backend.usable_on(Device::Cuda(gpu)).err());
    let environment = Environment {
        auto_on_gpu: fault.is_none(),
        ..environment.clone()
    };
    (environment, fault.map(|fault| fault.to_string()))
}

fn model_file(
    proto: &pb::ModelConfig,
    backend: &dyn Backend,
    version_folder: &Path,
) -> Result<PathBuf> {
    let name = match proto.default_model_filename.as_str() {
        "" => backend.default_filename(),
        name => name,
    };
    let file = version_folder.join(name);
    // Not a pipe or a device, which could hold the loading thread for ever.
    if name.is_empty() || file.is_file() || file.is_dir() {
        return Ok(file);
    }
    Err(Error::invalid_argument(
        "model_file",
        format!(
            "unable to find '{}' for model '{}'",
            file.display(),
            proto.name
        ),
    ))
}

/// What serves a model, until it is stopped.
pub(super) struct Engine {
    schedulers: [Arc<Scheduler>; 2],
    instances: Mutex<Vec<Instance>>,
    /// What they take of the devices.
    reservation: Option<Reservation>,
    /// Those instances that serve requests.
    peers: Arc<Peers>,
    /// Those that only wait.
    unused_peers: Arc<Peers>,
}

impl Engine {
    /// Takes the instances over as they come up; if one does not, stops the others.
    fn adopt(&self, starting: Vec<Result<Starting, BackendError>>) -> Result<(), BackendError> {
        let mut result = Ok(());
        for starting in starting {
            match starting.and_then(Starting::wait) {
                Ok(instance) => self.lock().push(instance),
                Err(error) => result = result.and(Err(error)),
            }
        }
        if result.is_err() {
            self.stop();
        }
        result
    }

    /// Whether any instance can run a batch.
    pub(super) fn is_able(&self) -> bool {
        self.peers.any_able()
    }

    /// What its instances take of devices.
    pub(super) fn accounts(&self) -> Vec<Arc<Account>> {
        [self.peers.accounts(), self.unused_peers.accounts()].concat()
    }

    /// How many bytes of which device each instance on one holds now.
    fn shares(&self) -> Vec<(u32, u64)> {
        let share = |account: &Arc<Account>| {
            let ordinal = account.device().context().ordinal();
            (ordinal, account.total_byte_size())
        };
        self.accounts().iter().map(share).collect()
    }

    /// Lets the instances finish what is queued, ends them, and frees what they hold.
    pub(super) fn stop(&self) {
        for scheduler in &self.schedulers {
            scheduler.close();
        }
        let instances = std::mem::take(&mut *self.lock());
        for instance in instances {
            instance.join();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::invalid_argument("model_config", error.to_string())
    }
}
