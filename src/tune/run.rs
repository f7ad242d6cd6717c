//! Goes through a model's candidates: loads, asks, compares.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    Candidate, Outcome, Settings, Skipped,
    agree::agree,
    choose::{Objective, Sample, Spread, Trial},
    curve::{self, Point},
    plan::{self, Facts},
};
use crate::{
    inference::ModelName,
    model::LoadRequest,
    model_config::{Edit, InstanceKind, ModelConfig, complete_from_files},
    perf::{
        self, Data, Inside, Level, Load, Measurement, ModelChoice, Range, RequestSettings,
        SharedMemory, Target, run_inside,
    },
    placement,
    proto::inference as pb,
    repository::survey,
};

/// The backend whose settings these are.
const BACKEND: &str = "onnxruntime";
/// Requests under way, at least, where throughput is wanted.
const BUSY: usize = 8;
/// A window has so many times the requests that are under way, at least.
const TURNS: u32 = 8;
/// The longest window.
const LONGEST: Duration = Duration::from_secs(20);
/// Answers that are compared.
const COMPARED: usize = 4;

/// How far a model is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Its name.
    pub model: &'a str,
    /// What is measured.
    pub label: &'a str,
    /// Measurements that are done.
    pub done: usize,
}

/// Tunes the models, one after the other. Those that nobody named and that are not tuned come with the
/// reason.
///
/// # Errors
/// If the repository cannot be read, or a model that was named cannot be tuned.
pub fn tune(
    settings: &Settings,
    watch: &mut dyn FnMut(&Progress<'_>),
) -> Result<(Vec<Outcome>, Vec<Skipped>)> {
    let all = survey(&settings.config.repository)?;
    for name in &settings.models {
        let is_there = all.iter().any(|(model, _)| model.as_str() == name);
        ensure!(is_there, "there is no model {name} in the repository");
    }
    let inside = Arc::new(Inside::open(&settings.config, Vec::new())?);
    let (mut outcomes, mut skipped) = (Vec::new(), Vec::new());
    for (name, versions) in all {
        let is_named = settings.models.iter().any(|model| *model == *name);
        if !(is_named || settings.models.is_empty()) {
            continue;
        }
        let source = versions.map_err(|why| anyhow!(why)).and_then(Source::new);
        let outcome = source
            .and_then(|source| Bench::open(settings, &inside, name.clone(), source, watch)?.tune());
        match outcome {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if is_named => return Err(error.context(format!("model {name}"))),
            Err(error) => skipped.push(Skipped {
                model: name.to_string(),
                why: format!("{error:#}"),
            }),
        }
        inside.unload(&name)?;
    }
    Ok((outcomes, skipped))
}

/// A model as it lies in the repository.
struct Source {
    folder: PathBuf,
    config: pb::ModelConfig,
}

impl Source {
    /// Of its newest version.
    fn new(versions: Vec<LoadRequest>) -> Result<Self> {
        let version = versions.into_iter().max_by_key(|request| request.version);
        let version = version.context("it has no version")?;
        let mut completed = version.config.clone();
        let folder = version.model_folder.join(version.version.to_string());
        complete_from_files(&mut completed, &version.name, &folder)?;
        ensure!(
            completed.backend == BACKEND,
            "it runs on backend '{}', which has nothing to tune",
            completed.backend
        );
        Ok(Self {
            folder: Path::to_owned(&version.model_folder),
            config: version.config,
        })
    }
}

/// One model under measurement.
struct Bench<'a> {
    settings: &'a Settings,
    inside: &'a Arc<Inside>,
    watch: &'a mut dyn FnMut(&Progress<'_>),
    name: ModelName,
    source: Source,
    facts: Facts,
    max_batch_size: usize,
    concurrency: usize,
    window: Duration,
    /// What it answers as it is.
    due: Vec<Vec<perf::Tensor>>,
    done: usize,
}

impl<'a> Bench<'a> {
    fn open(
        settings: &'a Settings,
        inside: &'a Arc<Inside>,
        name: ModelName,
        source: Source,
        watch: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Result<Self> {
        inside.reload(&name, &source.config)?;
        let config = inside.config(&name)?;
        let on_cpu = |kind| matches!(kind, InstanceKind::Cpu);
        let groups = &config.instance_groups;
        ensure!(
            groups.iter().all(|group| on_cpu(group.kind)),
            "its instances run on GPUs, and what is tuned is for the CPU"
        );
        let facts = facts(&config, &source.config);
        let concurrency = settings.concurrency.unwrap_or(match settings.objective {
            Objective::Latency => 1,
            Objective::Throughput => BUSY.max(4 * usize::from(facts.processor_count)),
        });
        let due = inside.answers(&name, &settings.data, COMPARED)?;
        let mut bench = Self {
            settings,
            inside,
            watch,
            max_batch_size: config.max_batch_size,
            name,
            source,
            facts,
            concurrency,
            window: settings.window,
            due,
            done: 0,
        };
        bench.set_window()?;
        Ok(bench)
    }

    /// Slow models are given more time.
    fn set_window(&mut self) -> Result<()> {
        let level = self.ask(&self.settings.data, self.concurrency, Some(2))?;
        let least = Duration::from_secs_f64(level.latency.mean / 1e6).saturating_mul(TURNS);
        self.window = self.settings.window.max(least).min(LONGEST);
        Ok(())
    }

    fn tune(mut self) -> Result<Outcome> {
        let threads = self.facts.threads();
        let first = self.phase(threads)?;
        let best = self.best(&first);
        let mut edits = vec![best.clone()];
        edits.extend(self.facts.switches(&best));
        let second = self.phase(edits)?;
        // The finalists once more, side by side in the same rounds.
        let combined = self.combined(&best, &second);
        let finalists = [Some(best), Some(self.best(&second)), combined];
        let last = self.phase(finalists.into_iter().flatten().collect())?;
        let chosen = self.best(&last);
        let curve = self.curve(&chosen)?;
        let mut candidates = self.candidates(&last);
        for candidate in [self.candidates(&first), self.candidates(&second)].concat() {
            if candidates.iter().all(|other| other.edit != candidate.edit) {
                candidates.push(candidate);
            }
        }
        let index = candidates.iter().position(|one| one.edit == chosen);
        Ok(Outcome {
            model: self.name.to_string(),
            folder: self.source.folder,
            processor_count: usize::from(self.facts.processor_count),
            concurrency: self.concurrency,
            batch_size: self.settings.data.batch_size,
            candidates,
            chosen: index.unwrap_or(0),
            advice: curve::advice(&curve),
            curve,
        })
    }

    fn best(&self, trials: &[Trial]) -> Edit {
        let objective = self.settings.objective;
        let best = trials.get(objective.best(trials, self.settings.latency_bound));
        best.map(|trial| trial.edit.clone()).unwrap_or_default()
    }

    /// All switches that helped, together.
    fn combined(&self, best: &Edit, trials: &[Trial]) -> Option<Edit> {
        let base = trials.iter().find(|trial| trial.edit == *best)?;
        let helps = |trial: &&Trial| {
            let objective = self.settings.objective;
            trial.fault.is_none() && objective.is_better(&base.samples, &trial.samples)
        };
        let on_top = trials.iter().filter(|trial| !trial.edit.is_empty());
        let good: Vec<_> = on_top.filter(helps).map(|trial| &trial.edit).collect();
        self.facts.combined(best, &good)
    }

    /// Measures the model as it is and with each edit, in turn, round after round.
    fn phase(&mut self, edits: Vec<Edit>) -> Result<Vec<Trial>> {
        let mut trials = vec![Trial::new(Edit::default())];
        for edit in edits {
            if trials.iter().all(|trial| trial.edit != edit) {
                trials.push(Trial::new(edit));
            }
        }
        let count = trials.len();
        for round in 0..self.settings.round_count.max(1) {
            for step in 0..count {
                // Each round begins with another one.
                let Some(trial) = trials.get_mut((round + step) % count) else {
                    continue;
                };
                if trial.fault.is_some() {
                    continue;
                }
                match self.sample(&trial.edit) {
                    Ok(sample) => trial.samples.push(sample),
                    Err(error) if trial.edit.is_empty() => return Err(error),
                    Err(error) => trial.fault = Some(format!("{error:#}")),
                }
            }
        }
        Ok(trials)
    }

    fn sample(&mut self, edit: &Edit) -> Result<Sample> {
        let (label, done) = (plan::label(edit), self.done);
        (self.watch)(&Progress {
            model: self.name.as_str(),
            label: &label,
            done,
        });
        self.done += 1;
        self.inside
            .reload(&self.name, &edit.apply(&self.source.config))?;
        let data = &self.settings.data;
        let answers = self.inside.answers(&self.name, data, COMPARED)?;
        agree(&self.due, &answers, self.settings.tolerance).map_err(anyhow::Error::msg)?;
        let level = self.ask(data, self.concurrency, None)?;
        Ok(Sample {
            rate: level.inferences_per_second,
            p50_us: level.latency.p50,
            p99_us: level.latency.p99,
        })
    }

    fn curve(&mut self, edit: &Edit) -> Result<Vec<Point>> {
        self.inside
            .reload(&self.name, &edit.apply(&self.source.config))?;
        let sizes = curve::sizes(self.max_batch_size);
        let points = sizes.into_iter().map(|batch_size| -> Result<Point> {
            let data = Data {
                batch_size,
                ..self.settings.data.clone()
            };
            let level = self.ask(&data, 1, None)?;
            Ok(Point {
                batch_size,
                latency_us: level.latency.p50,
                rate: level.inferences_per_second,
            })
        });
        points.collect()
    }

    /// Load in a closed loop: for a window, or so many requests for each that is under way.
    fn ask(&self, data: &Data, concurrency: usize, turns: Option<u64>) -> Result<Level> {
        let count = concurrency as f64;
        let settings = perf::Settings {
            target: Target::Inside(Box::new(self.settings.config.clone())),
            models: vec![ModelChoice {
                name: self.name.to_string(),
                version: None,
                weight: 1.0,
            }],
            load: Load::Concurrency(Range {
                start: count,
                end: count,
                step: 1.0,
            }),
            measurement: self.measurement(turns.map(|turns| turns * concurrency as u64)),
            data: data.clone(),
            request: RequestSettings::default(),
            shared_memory: SharedMemory::None,
            output_shared_memory_size: 0,
            threads: None,
            connections: None,
            encryption: None,
            sequences: None,
            interrupt: Arc::default(),
        };
        let mut report = run_inside(self.inside, &settings, &mut |_| ())?;
        let level = report.levels.pop().context("nothing was measured")?;
        match level.totals.failures.keys().next() {
            Some(reason) => bail!("a request failed: {reason}"),
            None => Ok(level),
        }
    }

    fn measurement(&self, request_count: Option<u64>) -> Measurement {
        Measurement {
            interval: self.window,
            stability_percentage: 0.0,
            max_trials: 1,
            percentile: None,
            latency_threshold: None,
            warmup: self.window / 4,
            warmup_request_count: 0,
            request_count,
            verify_every: 0,
        }
    }

    /// What is told of them.
    fn candidates(&self, trials: &[Trial]) -> Vec<Candidate> {
        let base = trials.first().map(|trial| &trial.samples[..]);
        let base = base.unwrap_or_default();
        let candidates = trials.iter().map(|trial| {
            let spread = |of: fn(&Sample) -> f64| Spread::of(trial.samples.iter().map(of));
            Candidate {
                label: plan::label(&trial.edit),
                edit: trial.edit.clone(),
                rate: spread(|sample| sample.rate),
                p50_us: spread(|sample| sample.p50_us),
                p99_us: spread(|sample| sample.p99_us),
                gain: Spread::of(self.settings.objective.gains(base, &trial.samples)),
                fault: trial.fault.clone(),
            }
        });
        candidates.collect()
    }
}

fn facts(config: &ModelConfig, source: &pb::ModelConfig) -> Facts {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let instances = placement::instances(&config.instance_groups).count();
    let graph = source.optimization.as_ref();
    let graph = graph.and_then(|optimization| optimization.graph.as_ref());
    Facts {
        processor_count: u16::try_from(processors).unwrap_or(u16::MAX),
        instance_count: u16::try_from(instances).unwrap_or(u16::MAX),
        may_add_instances: source.instance_group.is_empty(),
        parameters: config.parameters.clone(),
        graph_level: graph.map(|graph| graph.level),
    }
}
