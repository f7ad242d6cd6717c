//! How an engine for one model is come by: found in the store, or built by another process, one at a time on
//! each GPU, and kept.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    build::BuildReport,
    child::{self, ChildOrder},
    derive,
    folder::Folder,
    key::{EngineKey, KeyParts},
    recipe::Recipe,
    source::{self, Digest, Source},
    store::{EngineStore, Kept, Note},
};
use crate::{
    backend::{
        BackendError, Blueprint, Factory, Halt, Made, Verdict,
        tensorrt::{Config, TensorRt},
    },
    device::Device,
    model_config::{InstanceKind, ModelConfig},
    tensor::Shape,
};

/// How long who waits for a turn goes without asking whether it is still wanted.
const PACE: Duration = Duration::from_millis(50);

impl Factory for TensorRt {
    fn source_backend(&self) -> &'static str {
        "onnxruntime"
    }

    fn blueprint(
        &self,
        source: &Path,
        config: &ModelConfig,
    ) -> Result<Arc<dyn Blueprint>, BackendError> {
        let recipe = derive::recipe(config)?;
        let tolerance = derive::tolerance(config, recipe.precision)?;
        let library = self.library()?;
        recipe
            .check(library.version())
            .map_err(BackendError::InvalidModel)?;
        let gpu = self.gpu(first_gpu(config))?;
        let folder = self.config.engine_folder();
        let folder = folder.map_err(BackendError::Unavailable)?;
        let source = Source::read(source).map_err(BackendError::InvalidModel)?;
        let plugins = digests(&self.config.plugins)?;
        let parts = KeyParts {
            model: source.digest,
            capability: gpu.compute_capability,
            driver: &self.driver,
            tensorrt: library.version(),
            plugins: &plugins,
            recipe: &recipe,
        };
        Ok(Arc::new(EngineBlueprint {
            model: config.name.clone(),
            key: parts.key(),
            digest: source.digest,
            source: source.path,
            store: Box::new(Folder::new(folder, self.config.engine_cache_byte_limit)),
            gpu: gpu.ordinal,
            like: format!(
                "{}-{}.{}-{}",
                library.version(),
                gpu.compute_capability.0,
                gpu.compute_capability.1,
                self.driver
            ),
            library: library.path().to_owned(),
            config: self.config.clone(),
            turns: Arc::clone(&self.turns),
            recipe,
            tolerance,
        }))
    }
}

/// One engine.
#[derive(Debug)]
struct EngineBlueprint {
    model: String,
    key: EngineKey,
    source: PathBuf,
    digest: Digest,
    store: Box<dyn EngineStore>,
    gpu: u32,
    /// What builds have in common that learn the same about kernels.
    like: String,
    library: PathBuf,
    config: Config,
    turns: Arc<Turns>,
    recipe: Recipe,
    tolerance: Option<f64>,
}

impl Blueprint for EngineBlueprint {
    fn find(&self) -> Option<Made> {
        self.store.find(&self.key).map(made)
    }

    fn make(&self, halt: &Halt) -> Result<Made, BackendError> {
        let _turn = self.turns.take(self.gpu, halt).ok_or_else(halted)?;
        // Somebody else may have built the same while this one waited.
        if let Some(made) = self.find() {
            return Ok(made);
        }
        tracing::info!(model = self.model, key = %self.key, gpu = self.gpu, "building a TensorRT engine");
        let unkept = |error| BackendError::Failed(format!("the engine cannot be kept: {error}"));
        let staged = self.store.stage().map_err(unkept)?;
        let report = child::build(&self.order(&staged), halt)?;
        if report.model_sha256 != self.digest.to_string() {
            let why = "the model's files changed while the engine was built".to_owned();
            return Err(BackendError::Failed(why));
        }
        let note = self.note(&report);
        tracing::info!(
            model = self.model,
            key = %self.key,
            built_for = note.built_for,
            seconds = note.build_seconds,
            "a TensorRT engine was built"
        );
        let kept = self.store.keep(&self.key, staged, &note);
        kept.map(made).map_err(unkept)
    }

    fn device(&self) -> Device {
        Device::Cuda(self.gpu)
    }

    fn tolerance(&self) -> Option<f64> {
        self.tolerance
    }

    fn sample_shapes(&self) -> Vec<Vec<(String, Shape)>> {
        let best = |(name, range): (&str, &super::super::profile::Range)| {
            (name.to_owned(), range.opt.clone())
        };
        let profiles = self.recipe.profiles.iter();
        profiles
            .map(|profile| profile.iter().map(best).collect())
            .collect()
    }

    fn judge(&self, verdict: &Verdict) {
        self.store.judge(&self.key, verdict);
    }
}

impl EngineBlueprint {
    fn order(&self, output: &Path) -> ChildOrder {
        ChildOrder {
            source: self.source.clone(),
            output: output.to_owned(),
            timing_cache: self.store.timing_cache(&self.like),
            gpu: self.gpu,
            library: self.library.clone(),
            config: self.config.clone(),
            recipe: self.recipe.clone(),
        }
    }

    fn note(&self, report: &BuildReport) -> Note {
        Note {
            model: self.model.clone(),
            built_for: format!(
                "TensorRT {}, {} of compute capability {}, driver {}",
                report.tensorrt, report.device, report.compute_capability, report.driver
            ),
            build_seconds: report.seconds,
        }
    }
}

fn made(kept: Kept) -> Made {
    Made {
        file: kept.file,
        verdict: kept.record.verdict,
    }
}

fn halted() -> BackendError {
    BackendError::Unavailable("the build was halted".to_owned())
}

/// The first GPU that the model's instance groups name.
fn first_gpu(config: &ModelConfig) -> Option<u32> {
    let mut groups = config.instance_groups.iter();
    groups.find_map(|group| {
        let named = group.gpus.first().copied();
        named.filter(|_| group.kind == InstanceKind::Gpu)
    })
}

fn digests(plugins: &[PathBuf]) -> Result<Vec<Digest>, BackendError> {
    let digest = |path: &PathBuf| {
        let mut hasher = Sha256::new();
        let added = source::add_file(&mut hasher, path);
        added.map(|()| Digest::of(hasher)).map_err(|error| {
            BackendError::Unavailable(format!("plugins in {}: {error}", path.display()))
        })
    };
    plugins.iter().map(digest).collect()
}

/// On which GPUs something is being built: one thing at a time on each.
#[derive(Debug, Default)]
pub(in super::super) struct Turns {
    busy: Mutex<BTreeSet<u32>>,
    ended: Condvar,
}

/// A GPU to build on, until it goes.
struct Turn<'a> {
    turns: &'a Turns,
    gpu: u32,
}

impl Turns {
    /// Waits for that GPU; `None` if it is no longer wanted.
    fn take(&self, gpu: u32, halt: &Halt) -> Option<Turn<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !halt.is_halted() {
            if busy.insert(gpu) {
                return Some(Turn { turns: self, gpu });
            }
            let waited = self.ended.wait_timeout(busy, PACE);
            busy = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self
            .turns
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.gpu);
        drop(busy);
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_builds_on_a_gpu() {
        let (turns, halt) = (Turns::default(), Halt::default());
        let first = turns.take(0, &halt).unwrap();
        assert!(
            turns.take(1, &halt).is_some(),
            "another GPU is another matter"
        );
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(0, &halt).is_some());
            drop(first);
            assert!(waiting.join().unwrap());
        });
        let _second = turns.take(0, &halt).unwrap();
        halt.halt();
        assert!(turns.take(0, &halt).is_none());
    }
}
