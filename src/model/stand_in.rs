//! Versions whose file has yet to be made from another: the backend that reads the other serves until then, and
//! what was made takes its place only if it answers alike.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{
    LoadRequest, Loader, Model, accuracy,
    load::{Prepared, with_engine},
    warmup,
};
use crate::{
    backend::{Backend, BackendError, Batch, Blueprint, Executor, Halt, Made, Verdict},
    device::Device,
    error::{Error, Result},
    model_config::{self, ModelConfig},
    proto::inference as pb,
};

/// What a model has that stands in for another.
pub(super) struct StandIn {
    /// Why it does, for people.
    remark: Mutex<String>,
    /// What is to take its place; `None` if nothing will.
    pending: Option<Pending>,
}

/// What is to take a stand-in's place.
struct Pending {
    blueprint: Arc<dyn Blueprint>,
    /// What stands in.
    reference: Prepared,
    /// What comes after, but for its file.
    config: ModelConfig,
    backend: Arc<dyn Backend>,
    engine_fault: Option<String>,
    samples: Vec<Batch>,
    /// What comparing them with that tolerance is called; `None` if they are not compared.
    check: Option<(String, f64)>,
}

/// A version's files, where its backend's own is not among them.
pub(super) struct Sourced {
    backend: Arc<dyn Backend>,
    file: PathBuf,
    /// The configuration of what stands in.
    config: pb::ModelConfig,
    completed: pb::ModelConfig,
}

impl StandIn {
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn remark(&self) -> String {
        self.remark
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_remark(&self, remark: String) {
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = remark;
    }
}

impl Loader {
    /// What the version is made of, if its backend makes files and its own is not there.
    pub(super) fn sourced(&self, request: &LoadRequest) -> Result<Option<Sourced>> {
        let version_folder = request.model_folder.join(request.version.to_string());
        let mut completed = request.config.clone();
        model_config::complete_from_files(&mut completed, &request.name, &version_folder)?;
        let backend = Arc::clone(self.backends.backend(&completed.backend)?);
        let Some(factory) = backend.factory() else {
            return Ok(None);
        };
        let source = self.backends.backend(factory.source_backend())?;
        let Some(file) = source_file(&completed, source.as_ref(), &version_folder) else {
            return Ok(None);
        };
        let config = as_source(&request.config, source.name(), &file);
        Ok(Some(Sourced {
            file,
            config,
            completed,
            backend,
        }))
    }

    /// Loads what was made before, or else what stands in for it.
    pub(super) fn load_sourced(
        &self,
        request: &LoadRequest,
        sourced: Sourced,
        start: Instant,
    ) -> Result<Arc<Model>> {
        let source_request = LoadRequest {
            config: sourced.config.clone(),
            ..request.clone()
        };
        let reference = self.prepare(&source_request)?;
        let pending = match self.pending(request, &sourced, reference.clone()) {
            Ok(pending) => pending,
            Err(error) => {
                let why = format!("no engine can be built: {}", error.message());
                return self.stand_in(&source_request, reference, why, None, start);
            }
        };
        let why = match pending.find() {
            Some((file, None)) => {
                match self.assemble(request, pending.prepared(&file), None, start) {
                    Ok(model) => return Ok(model),
                    Err(error) => Err(format!(
                        "the engine that was built before cannot be loaded: {}; remove {} to have it built again",
                        error.message(),
                        file.display()
                    )),
                }
            }
            Some((_, Some(failure))) => Err(format!(
                "the engine that was built is not accurate: {failure}"
            )),
            None => Ok("an engine is being built".to_owned()),
        };
        match why {
            Ok(why) => self.stand_in(&source_request, reference, why, Some(pending), start),
            Err(why) => self.stand_in(&source_request, reference, why, None, start),
        }
    }

    /// Makes what is to take a stand-in's place, loads it, and holds its answers against the stand-in's. Blocks,
    /// maybe for minutes, and ends soon after `halt`.
    ///
    /// # Errors
    /// Why nothing takes its place; the stand-in remembers it.
    pub fn replace(
        &self,
        request: &LoadRequest,
        stand_in: &Model,
        halt: &Halt,
    ) -> Result<Arc<Model>> {
        let start = Instant::now();
        let stand_in = stand_in.stand_in.as_ref();
        let Some((stand_in, pending)) = stand_in.and_then(|it| Some((it, it.pending.as_ref()?)))
        else {
            return Err(Error::internal(
                "no_stand_in",
                "the model stands in for nothing",
            ));
        };
        let made = pending.make(request, halt).map_err(Error::from);
        let loaded =
            made.and_then(|file| self.assemble(request, pending.prepared(&file), None, start));
        loaded.inspect_err(|error| {
            let why = error.message();
            stand_in.set_remark(format!(
                "served by {}: {why}",
                pending.reference.config.backend
            ));
        })
    }

    fn stand_in(
        &self,
        request: &LoadRequest,
        reference: Prepared,
        why: String,
        pending: Option<Pending>,
        start: Instant,
    ) -> Result<Arc<Model>> {
        let remark = format!("served by {}: {why}", reference.config.backend);
        tracing::warn!(model = %request.name, version = request.version, "{remark}");
        let stand_in = StandIn {
            remark: Mutex::new(remark),
            pending,
        };
        self.assemble(request, reference, Some(stand_in), start)
    }

    fn pending(
        &self,
        request: &LoadRequest,
        sourced: &Sourced,
        reference: Prepared,
    ) -> Result<Pending> {
        let backend = Arc::clone(&sourced.backend);
        let factory = backend.factory().ok_or_else(|| {
            Error::internal("no_factory", format!("{} makes no files", backend.name()))
        })?;
        backend.ready()?;
        let (environment, engine_fault) = with_engine(&self.config.environment, backend.as_ref());
        let config = as_made(&reference.config.proto, &sourced.completed, &request.config);
        let config = ModelConfig::from_proto(config, &environment)?;
        let blueprint = factory.blueprint(&sourced.file, &config)?;
        let samples = samples(&config, &request.model_folder, blueprint.as_ref())?;
        let check = blueprint
            .tolerance()
            .map(|tolerance| (accuracy::check_name(tolerance, &samples), tolerance));
        Ok(Pending {
            blueprint,
            reference,
            config,
            backend: Arc::clone(&sourced.backend),
            engine_fault,
            samples,
            check,
        })
    }
}

impl Pending {
    /// What was made before and need not be compared again: the file, and why it must not be used, if so.
    fn find(&self) -> Option<(PathBuf, Option<String>)> {
        let made = self.blueprint.find()?;
        let known = self.judged(&made);
        known.map(|failure| (made.file, failure))
    }

    /// What is known of the file by this check: `None` if nothing is.
    fn judged(&self, made: &Made) -> Option<Option<String>> {
        let Some((name, _)) = &self.check else {
            return Some(None);
        };
        let verdict = made.verdict.as_ref()?;
        (verdict.check == *name).then(|| verdict.failure.clone())
    }

    /// The file, made and compared.
    fn make(&self, request: &LoadRequest, halt: &Halt) -> Result<PathBuf, BackendError> {
        let made = self.blueprint.make(halt)?;
        let failure = match (self.judged(&made), &self.check) {
            (Some(known), _) => known,
            (None, Some((name, tolerance))) => {
                let failure = self.compare(&made.file, *tolerance)?;
                self.blueprint.judge(&Verdict {
                    check: name.clone(),
                    failure: failure.clone(),
                });
                failure
            }
            (None, None) => None,
        };
        match failure {
            Some(failure) => Err(BackendError::InvalidModel(format!(
                "the engine that was built is not accurate: {failure}"
            ))),
            None => {
                tracing::info!(model = %request.name, version = request.version, "the engine is accurate");
                Ok(made.file)
            }
        }
    }

    /// Runs every sample on both; why the engine must not be used, if so.
    fn compare(&self, file: &Path, tolerance: f64) -> Result<Option<String>, BackendError> {
        let mut reference = executor(&self.reference, Device::Host)?;
        let mut engine = executor(&self.prepared(file), self.blueprint.device())?;
        let outputs = self.config.outputs.iter();
        let names: Vec<&str> = outputs.map(|output| &*output.name).collect();
        for sample in &self.samples {
            let (mut expected, mut found) = (sample.clone(), sample.clone());
            let failed =
                |error| BackendError::Failed(format!("the engine cannot be compared: {error}"));
            reference.execute(&mut expected).map_err(failed)?;
            engine.execute(&mut found).map_err(failed)?;
            if let Err(why) = accuracy::compare(&expected, &found, &names, tolerance) {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    fn prepared(&self, file: &Path) -> Prepared {
        Prepared {
            config: self.config.clone(),
            backend: Arc::clone(&self.backend),
            file: file.to_owned(),
            engine_fault: self.engine_fault.clone(),
            devices: Arc::clone(&self.reference.devices),
        }
    }
}

fn executor(prepared: &Prepared, device: Device) -> Result<Box<dyn Executor>, BackendError> {
    prepared.backend.load(&prepared.spec("comparison"), device)
}

/// The warm-up's samples, or if there are none, random ones.
fn samples(
    config: &ModelConfig,
    folder: &Path,
    blueprint: &dyn Blueprint,
) -> Result<Vec<Batch>, BackendError> {
    if blueprint.tolerance().is_none() {
        return Ok(Vec::new());
    }
    let warmups = warmup::batches(config, folder)?;
    if !warmups.is_empty() {
        return Ok(warmups
            .into_iter()
            .map(warmup::Warmup::into_batch)
            .collect());
    }
    let shapes = blueprint.sample_shapes();
    shapes
        .iter()
        .map(|shapes| warmup::random_batch(config, shapes))
        .collect()
}

/// The source, if it is there and the backend's own file is not.
fn source_file(
    completed: &pb::ModelConfig,
    source: &dyn Backend,
    version_folder: &Path,
) -> Option<PathBuf> {
    let own = Path::new(&completed.default_model_filename);
    let default = source.default_filename();
    let is_source = own.extension() == Path::new(default).extension();
    let name = if is_source { own } else { Path::new(default) };
    let file = version_folder.join(name);
    let is_there = |file: &Path| file.is_file() || file.is_dir();
    (is_there(&file) && (is_source || !is_there(&version_folder.join(own)))).then_some(file)
}

/// The configuration for the source's backend.
fn as_source(config: &pb::ModelConfig, backend: &str, file: &Path) -> pb::ModelConfig {
    let mut config = config.clone();
    backend.clone_into(&mut config.backend);
    config.platform.clear();
    let name = file.file_name().unwrap_or_default();
    config.default_model_filename = name.to_string_lossy().into_owned();
    for group in &mut config.instance_group {
        group.profile.clear();
    }
    config
}

/// The configuration for what is made: as completed from the source, for its own backend and devices.
fn as_made(
    source: &pb::ModelConfig,
    completed: &pb::ModelConfig,
    read: &pb::ModelConfig,
) -> pb::ModelConfig {
    pb::ModelConfig {
        backend: completed.backend.clone(),
        platform: completed.platform.clone(),
        default_model_filename: completed.default_model_filename.clone(),
        instance_group: read.instance_group.clone(),
        ..source.clone()
    }
}
