//! A run: prepares requests, goes through the levels, and cleans up.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Progress,
    control::{Control, Door, grpc_path},
    cpu::{ServerProcesses, processor, processor_count},
    data::{self, Sample},
    driver::{InsideCalls, Link, Pacing, Place, drive, drive_inside},
    inside::Inside,
    level::{self, Client, Level, LevelLoad, Report, SloResult},
    load::{Arrivals, Distribution, Popularity, intervals},
    measure::{Measured, Wanted},
    model::Model,
    number::{Range, whole_count},
    request,
    search::Search,
    sequence::SequenceSource,
    server::Server,
    settings::{Load, Protocol, Settings, Slo, Target},
    shared::{self, Placement, Region, SharedMemory},
    verify::Verifier,
    wire::{Calls, GrpcWire, HeaderBlock, HttpWire, Message, Out},
};

/// Requests that share a connection of HTTP/2.
const CALLS_PER_CONNECTION: usize = 16;
/// Connections of an open loop, at most, unless more are asked for.
const CONNECTIONS: usize = 256;
/// Connections of an open loop that are opened before it begins.
const OPENED: usize = 8;
/// Threads, at most, unless more are asked for.
const THREADS: usize = 16;
/// How near to each other the rates around the answer of a search must be.
const PRECISION: f64 = 0.03;

/// All that a run needs.
pub(super) struct Bench<'a> {
    pub(super) settings: &'a Settings,
    pub(super) watch: &'a mut dyn FnMut(&Progress),
    pub(super) server: Server,
    pub(super) models: Vec<Model>,
    samples: Vec<Vec<Sample>>,
    pub(super) requests: Vec<Vec<Message>>,
    pub(super) popularity: Popularity,
    pub(super) sequences: Option<Arc<SequenceSource>>,
    pub(super) threads: usize,
    pub(super) processes: Option<ServerProcesses>,
    regions: Vec<Region>,
}

/// Measures everything that is asked.
///
/// # Errors
/// If the server cannot be reached, a model is not there, data do not fit it, or nothing is answered.
pub fn run(settings: &Settings, watch: &mut dyn FnMut(&Progress)) -> Result<Report> {
    run_on(Server::open(settings)?, settings, watch)
}

/// Measures everything that is asked on models that are loaded in this process already.
///
/// # Errors
/// As [`run`].
pub fn run_inside(
    inside: &Arc<Inside>,
    settings: &Settings,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    run_on(Server::Inside(Arc::clone(inside)), settings, watch)
}

fn run_on(server: Server, settings: &Settings, watch: &mut dyn FnMut(&Progress)) -> Result<Report> {
    let mut bench = Bench::new(server, settings, watch);
    let outcome = bench.prepare().and_then(|()| bench.report());
    bench.clean_up();
    outcome
}

impl<'a> Bench<'a> {
    fn new(server: Server, settings: &'a Settings, watch: &'a mut dyn FnMut(&Progress)) -> Self {
        Self {
            settings,
            watch,
            processes: server.processes(),
            server,
            models: Vec::new(),
            samples: Vec::new(),
            requests: Vec::new(),
            sequences: None,
            popularity: Popularity::new(settings.models.iter().map(|model| model.weight)),
            threads: settings.threads.unwrap_or_else(default_threads).max(1),
            regions: Vec::new(),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        for choice in &self.settings.models {
            let model = self.server.model(&choice.name, choice.version)?;
            self.add(model)?;
        }
        self.sequences = SequenceSource::of(self.settings.sequences.as_ref(), &self.models)?;
        Ok(())
    }

    /// Makes the requests of a model.
    fn add(&mut self, model: Model) -> Result<()> {
        let settings = self.settings;
        let once = [Protocol::Http, Protocol::Grpc];
        if model.decoupled
            && matches!(&settings.target, Target::Remote(_, way) if once.contains(way))
        {
            bail!(
                "model {} is decoupled, and is asked with -i grpc --streaming",
                model.name
            );
        }
        if model.is_sequential && matches!(settings.target, Target::Inside(_)) {
            bail!(
                "model {} has sequences, and is asked over HTTP or gRPC",
                model.name
            );
        }
        let samples = data::samples(&settings.data, &model)?;
        let mut placements = Vec::new();
        if settings.shared_memory != SharedMemory::None {
            let room = settings.output_shared_memory_size;
            let regions;
            let control = self.control()?;
            (placements, regions) =
                shared::place(settings.shared_memory, control, &model, &samples, room)?;
            self.regions.extend(regions);
        }
        let messages = samples
            .iter()
            .enumerate()
            .map(|(index, sample)| self.message(&model, sample, placements.get(index)))
            .collect::<Result<_>>()?;
        self.requests.push(messages);
        self.samples.push(samples);
        self.models.push(model);
        Ok(())
    }

    fn message(
        &self,
        model: &Model,
        sample: &Sample,
        placement: Option<&Placement>,
    ) -> Result<Message> {
        let request = &self.settings.request;
        match (&self.server, &self.settings.target) {
            (Server::Remote(control), Target::Remote(_, Protocol::Http)) => {
                request::http(&control.authority, model, sample, placement, request)
            }
            (Server::Remote(_), _) => Ok(request::grpc(model, sample, placement, request)),
            (Server::Inside(_), _) => Ok(Message::default()),
        }
    }

    fn report(&mut self) -> Result<Report> {
        let (name, version) = self.server.identity().context("the server's metadata")?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH);
        let (levels, slo) = self.levels()?;
        Ok(Report {
            server: level::Server {
                name,
                version,
                url: self.settings.target.url(),
                protocol: self.settings.target.way().to_owned(),
            },
            client: Client {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                threads: self.threads,
                processor: processor(),
                processor_count: processor_count(),
                unix_time: begun.map_or(0, |since| since.as_secs()),
            },
            models: self.models.iter().map(|model| model.name.clone()).collect(),
            batch_size: self.settings.data.batch_size,
            levels,
            slo,
            is_interrupted: self.is_interrupted(),
        })
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.settings.interrupt.is_raised()
    }

    fn clean_up(&mut self) {
        for region in std::mem::take(&mut self.regions) {
            if let Ok(control) = self.control() {
                // The server may be gone, and what it knew with it.
                let _ = region.unregister(control);
            }
        }
    }

    /// The server's door.
    fn control(&self) -> Result<&Control> {
        match &self.server {
            Server::Remote(control) => Ok(control),
            Server::Inside(_) => bail!("in process there is no shared memory between two"),
        }
    }

    pub(super) fn verifier(&self) -> Verifier {
        let models = self
            .models
            .iter()
            .cloned()
            .zip(self.samples.iter().cloned());
        let door = self.control().map_or(Door::Http, |control| control.door);
        Verifier::new(door, &models.collect::<Vec<_>>())
    }

    fn levels(&mut self) -> Result<(Vec<Level>, Option<SloResult>)> {
        let settings = self.settings;
        match &settings.load {
            Load::Concurrency(range) => Ok((self.range(*range, |_, level| closed(level))?, None)),
            Load::RequestRate(range, distribution) => {
                let wanted = |bench: &Self, rate: f64| bench.open(rate, *distribution);
                Ok((self.range(*range, wanted)?, None))
            }
            Load::Intervals(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| path.display().to_string())?;
                let seconds = intervals(&text).map_err(anyhow::Error::msg);
                let seconds = seconds.with_context(|| path.display().to_string())?;
                let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
                let wanted = Wanted {
                    load: LevelLoad::Intervals {
                        value: mean.recip(),
                    },
                    pacing: Pacing::Open(Arrivals::replay(seconds)),
                    concurrency: self.most_in_flight(),
                };
                Ok((vec![self.measure(&wanted)?.level], None))
            }
            Load::Slo(slo) => self.search(slo),
        }
    }

    fn range(&mut self, range: Range, wanted: impl Fn(&Self, f64) -> Wanted) -> Result<Vec<Level>> {
        let threshold = self.settings.measurement.latency_threshold;
        ensure!(
            range.end > 0.0 || threshold.is_some(),
            "a range without an end needs a --latency-threshold to end it"
        );
        let mut levels = Vec::new();
        for value in range.levels() {
            let wanted = wanted(self, value);
            let measured = self.measure(&wanted);
            if measured.is_err() && self.is_interrupted() && !levels.is_empty() {
                break;
            }
            let level = measured?.level;
            let over = threshold.is_some_and(|most| level.latency.criterion() > micro(most));
            levels.push(level);
            if over || self.is_interrupted() {
                break;
            }
        }
        Ok(levels)
    }

    /// Looks for the highest rate that meets a target.
    fn search(&mut self, slo: &Slo) -> Result<(Vec<Level>, Option<SloResult>)> {
        let mut search = Search::new(slo.start, slo.most, PRECISION);
        let mut levels = Vec::new();
        while let Some(rate) = search.next() {
            let wanted = self.open(rate, slo.distribution);
            let measured = self.measure(&wanted);
            if self.is_interrupted() && !levels.is_empty() {
                break;
            }
            let Measured { level, whole } = measured?;
            let all = whole.done() + whole.failed();
            let target = u64::try_from(slo.latency.as_nanos()).unwrap_or(u64::MAX);
            let share = whole.done_within(target) as f64 / all.max(1) as f64;
            search.record(all > 0 && share * 100.0 >= slo.percentile);
            levels.push(level);
        }
        let result = SloResult {
            latency_ms: micro(slo.latency) / 1e3,
            percentile: slo.percentile,
            request_rate: search.found(),
        };
        Ok((levels, Some(result)))
    }

    fn open(&self, rate: f64, distribution: Distribution) -> Wanted {
        Wanted {
            load: LevelLoad::RequestRate {
                value: rate,
                distribution: distribution.label(),
            },
            pacing: Pacing::Open(Arrivals::new(distribution, rate, self.settings.data.seed)),
            concurrency: self.most_in_flight(),
        }
    }

    /// Requests that an open loop may have under way.
    fn most_in_flight(&self) -> usize {
        let connections = self.settings.connections.unwrap_or(CONNECTIONS);
        match self.settings.target {
            Target::Remote(_, Protocol::Grpc | Protocol::GrpcStreaming) => {
                connections * CALLS_PER_CONNECTION
            }
            Target::Remote(_, Protocol::Http) | Target::Inside(_) => connections,
        }
    }

    /// What each thread does, with so many requests under way at most.
    pub(super) fn driver(&self, concurrency: usize) -> Box<dyn FnOnce(Place) + Send> {
        match (&self.server, &self.settings.target) {
            (Server::Inside(inside), _) => {
                let calls = InsideCalls::new(inside.registry(), &self.models, &self.samples);
                Box::new(move |place| drive_inside(place, &calls))
            }
            (Server::Remote(control), Target::Remote(_, Protocol::Http)) => {
                let wire = |_: &mut Out| HttpWire::default();
                let link = self.link(control, concurrency, wire);
                Box::new(move |place| drive(place, &link))
            }
            (Server::Remote(control), target) => {
                let wire = self.grpc_wire(control, target);
                let needed = concurrency.div_ceil(CALLS_PER_CONNECTION);
                let link = self.link(control, needed, wire);
                Box::new(move |place| drive(place, &link))
            }
        }
    }

    fn grpc_wire(
        &self,
        control: &Control,
        target: &Target,
    ) -> impl Fn(&mut Out) -> GrpcWire + Send + use<> {
        let (calls, method) = match target {
            Target::Remote(_, Protocol::GrpcStreaming) => (Calls::Streaming, "ModelStreamInfer"),
            _ => (Calls::Unary, "ModelInfer"),
        };
        let headers = &self.settings.request.headers;
        let block = HeaderBlock::grpc(
            &control.authority,
            &grpc_path(method),
            headers,
            control.connector.is_some(),
        );
        move |out: &mut Out| GrpcWire::open(calls, block.clone(), CALLS_PER_CONNECTION, out)
    }

    fn link<F>(&self, control: &Control, needed: usize, wire: F) -> Link<F> {
        let closed = matches!(self.settings.load, Load::Concurrency(_));
        let most = self.settings.connections.unwrap_or(needed);
        Link {
            address: control.address,
            connector: control.connector.clone(),
            // Every thread has one at least.
            connections: most.max(self.threads),
            opened: if closed { most } else { most.min(OPENED) },
            wire,
        }
    }
}

fn closed(level: f64) -> Wanted {
    let concurrency = whole_count(level).max(1);
    Wanted {
        load: LevelLoad::Concurrency { value: concurrency },
        pacing: Pacing::Closed(concurrency),
        concurrency,
    }
}

fn micro(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn default_threads() -> usize {
    (processor_count() / 2).clamp(1, THREADS)
}
