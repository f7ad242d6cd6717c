//! One level of load: starts the threads, decides when it is enough, and sums up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Progress,
    control::{ModelStatistics, Statistics},
    cpu,
    crew::Crew,
    driver::{Orders, Pacing, Place, Totals},
    gather::{Cut, Gathering, Whole},
    level::{Latency, Level, LevelLoad, LevelTotals, ServerSide},
    number::whole,
    run::Bench,
};

/// Parts of a window.
const PARTS: u64 = 10;
/// From giving the order to the beginning of the load: threads open their connections meanwhile.
const LEAD: Duration = Duration::from_millis(50);
/// Progress is told so often at most.
const TELL: Duration = Duration::from_millis(200);

/// How a level is called in its results, and how it is paced.
pub(super) struct Wanted {
    pub(super) load: LevelLoad,
    pub(super) pacing: Pacing,
    /// Requests that may be under way.
    pub(super) concurrency: usize,
}

/// A level that was measured.
pub(super) struct Measured {
    pub(super) level: Level,
    /// What its numbers are of.
    pub(super) whole: Whole,
}

/// What a level came to, before it is summed up.
struct Outcome {
    whole: Whole,
    seconds: f64,
    stable: bool,
    /// Processor time at the beginning and at the end of what was measured.
    cpu: Option<(Clock, Clock)>,
    gathering: Gathering,
    /// Windows that the numbers are of.
    windows: usize,
    totals: Totals,
}

/// Processor time at some moment.
#[derive(Clone, Copy)]
struct Clock {
    client: Duration,
    server: Option<Duration>,
}

impl Bench<'_> {
    /// Measures a level.
    ///
    /// # Errors
    /// If the server cannot be reached, or nothing was answered.
    pub(super) fn measure(&mut self, wanted: &Wanted) -> Result<Measured> {
        self.check_sequences(wanted)?;
        let warmup = self.settings.measurement.warmup_request_count;
        if warmup > 0 {
            let closed = Wanted {
                load: wanted.load.clone(),
                pacing: Pacing::Closed(wanted.concurrency.min(64)),
                concurrency: wanted.concurrency,
            };
            self.count_requests(&closed, &self.orders(&closed, Some(warmup)))?;
        }
        let before = self.statistics();
        let count = self.settings.measurement.request_count;
        let orders = self.orders(wanted, count);
        let outcome = match count {
            Some(_) => self.count_requests(wanted, &orders)?,
            None => self.windows(wanted, &orders)?,
        };
        let after = self.statistics();
        if let Some(reason) = &outcome.totals.broken {
            bail!("the load broke off: {reason}");
        }
        let server = before
            .zip(after)
            .map(|(before, after)| done(&before, &after));
        let level = self.sum_up(wanted, &outcome, &orders, server);
        if level.totals.done == 0 {
            let reason = level.totals.failures.keys().next();
            let reason = reason.map_or("no answer came", |reason| reason.as_str());
            bail!("no request was answered well: {reason}");
        }
        Ok(Measured {
            level,
            whole: outcome.whole,
        })
    }

    /// Every sequence that is under way needs a number of its own.
    fn check_sequences(&self, wanted: &Wanted) -> Result<()> {
        let Some(source) = &self.sequences else {
            return Ok(());
        };
        let count = match wanted.pacing {
            Pacing::Closed(concurrency) => concurrency,
            Pacing::Open(_) => source.count(),
        };
        let count = count.max(self.threads) as u64;
        ensure!(
            count <= source.id_count(),
            "--sequence-id-range has {} numbers, and {count} sequences are under way",
            source.id_count()
        );
        Ok(())
    }

    /// Load until it is stable, or for as many windows as there may be.
    fn windows(&mut self, wanted: &Wanted, orders: &Arc<Orders>) -> Result<Outcome> {
        let measurement = &self.settings.measurement;
        let cut = Cut {
            threads: self.threads,
            slice: orders.slice,
            warmup: nanoseconds(measurement.warmup).div_ceil(orders.slice),
            window: PARTS,
        };
        let mut gathering = Gathering::new(cut, measurement.percentile);
        let mut crew = self.start(orders, wanted.concurrency)?;
        let first = orders.start + Duration::from_nanos(cut.warmup * cut.slice);
        let mut clocks = Vec::new();
        let mut stable = false;
        let mut told = Instant::now();
        while crew.is_at_work() {
            if clocks.is_empty() && Instant::now() >= first {
                clocks.push(self.clock());
            }
            let wake = clocks.is_empty().then_some(first);
            let Some(slice) = crew.next_slice(wake, orders) else {
                continue;
            };
            if self.is_interrupted() && gathering.window_count() > 0 {
                // A part that was cut short, and windows enough without it.
                continue;
            }
            let window = gathering.add(&slice);
            if window {
                clocks.push(self.clock());
                stable = gathering.is_stable(measurement.stability_percentage);
                let enough = gathering.window_count() >= measurement.max_trials;
                orders.stop.store(stable || enough, Ordering::Relaxed);
            }
            if window || told.elapsed() > TELL {
                told = Instant::now();
                self.tell(wanted, &gathering);
            }
        }
        let (mut whole, mut count) = gathering.measured();
        let mut seconds = count as f64 * gathering.window_seconds();
        if count == 0 {
            // Interrupted before a window was over: what there is counts as one.
            count = 1;
            clocks.push(self.clock());
            whole = gathering.everything();
            seconds = first.elapsed().as_secs_f64();
            ensure!(whole.done() > 0, "interrupted before anything was measured");
        }
        let clocks = clocks.get(clocks.len().saturating_sub(count + 1)..);
        Ok(Outcome {
            seconds,
            whole,
            stable: stable && !self.is_interrupted(),
            cpu: clocks.and_then(|clocks| Some((*clocks.first()?, *clocks.last()?))),
            gathering,
            windows: count,
            totals: crew.end(),
        })
    }

    /// Load until as many requests were sent and answered as the orders say.
    fn count_requests(&self, wanted: &Wanted, orders: &Arc<Orders>) -> Result<Outcome> {
        let cut = Cut {
            threads: self.threads,
            slice: orders.slice,
            warmup: 0,
            window: u64::MAX,
        };
        let mut gathering = Gathering::new(cut, self.settings.measurement.percentile);
        let mut crew = self.start(orders, wanted.concurrency)?;
        let before = self.clock();
        while crew.is_at_work() {
            if let Some(slice) = crew.next_slice(None, orders) {
                gathering.add(&slice);
            }
        }
        let took = Instant::now().saturating_duration_since(orders.start);
        Ok(Outcome {
            seconds: took.as_secs_f64(),
            whole: gathering.everything(),
            stable: !self.is_interrupted(),
            cpu: Some((before, self.clock())),
            gathering,
            windows: 0,
            totals: crew.end(),
        })
    }

    fn orders(&self, wanted: &Wanted, count: Option<u64>) -> Arc<Orders> {
        let slice = nanoseconds(self.settings.measurement.interval) / PARTS;
        Arc::new(Orders {
            start: Instant::now() + LEAD,
            slice: slice.max(1),
            threads: self.threads,
            pacing: wanted.pacing.clone(),
            requests: self.requests.clone(),
            popularity: self.popularity.clone(),
            sequences: self.sequences.clone(),
            seed: self.settings.data.seed,
            verify_every: self.settings.measurement.verify_every,
            verifier: self.verifier(),
            stop: AtomicBool::new(false),
            interrupt: Arc::clone(&self.settings.interrupt),
            budget: count.map(AtomicU64::new),
        })
    }

    fn start(&self, orders: &Arc<Orders>, concurrency: usize) -> Result<Crew> {
        let (sender, reports) = mpsc::channel();
        let mut threads = Vec::new();
        for thread in 0..self.threads {
            let place = Place {
                orders: Arc::clone(orders),
                thread,
                reports: sender.clone(),
            };
            let drive = self.driver(concurrency);
            let spawned = thread::Builder::new()
                .name(format!("perf-{thread}"))
                .spawn(move || drive(place));
            threads.push(spawned.context("no thread")?);
        }
        Ok(Crew::new(threads, reports))
    }

    fn clock(&self) -> Clock {
        Clock {
            client: cpu::own_time(),
            server: self.processes.as_ref().map(cpu::ServerProcesses::time),
        }
    }

    fn statistics(&self) -> Option<Statistics> {
        self.server.statistics(&self.models)
    }

    fn tell(&mut self, wanted: &Wanted, gathering: &Gathering) {
        let last = gathering.last();
        let progress = Progress {
            load: wanted.load.clone(),
            window: gathering.window_count(),
            most_windows: self.settings.measurement.max_trials,
            requests_per_second: last.map(|point| point.rate),
            latency_us: last.map(|point| point.latency / 1e3),
        };
        (self.watch)(&progress);
    }

    fn sum_up(
        &self,
        wanted: &Wanted,
        outcome: &Outcome,
        orders: &Orders,
        server: Option<ServerSide>,
    ) -> Level {
        let whole = &outcome.whole;
        let latencies = whole.latencies();
        let percentile = self.settings.measurement.percentile;
        let rate = whole.done() as f64 / outcome.seconds;
        let (client_cpu_us, server_cpu_us) = outcome.cpu_per_request();
        let distribution = latencies.cumulative().into_iter();
        let names: Vec<String> = self.models.iter().map(|model| model.name.clone()).collect();
        Level {
            load: wanted.load.clone(),
            stable: outcome.stable,
            window_count: outcome.gathering.window_count(),
            seconds: outcome.seconds,
            requests_per_second: rate,
            inferences_per_second: rate * self.settings.data.batch_size as f64,
            latency: Latency::of(&latencies, percentile),
            send_lag_p99_us: whole.lag_p99(),
            request_count: whole.done(),
            failure_count: whole.failed(),
            client_cpu_us,
            server_cpu_us,
            server,
            totals: totals(&outcome.totals, orders),
            models: if names.len() > 1 {
                whole.by_model(&names, outcome.seconds, percentile)
            } else {
                Vec::new()
            },
            distribution: distribution
                .map(|(nanoseconds, share)| (nanoseconds as f64 / 1e3, share))
                .collect(),
            series: outcome.gathering.series(outcome.windows),
        }
    }
}

impl Outcome {
    /// Microseconds of the client's and of the server's processor time for each request.
    fn cpu_per_request(&self) -> (Option<f64>, Option<f64>) {
        let answered = (self.whole.done() + self.whole.failed()).max(1) as f64;
        let per_request =
            |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / answered;
        let Some((from, to)) = self.cpu else {
            return (None, None);
        };
        let server = from.server.zip(to.server);
        (
            Some(per_request(from.client, to.client)),
            server.map(|(from, to)| per_request(from, to)),
        )
    }
}

fn totals(totals: &Totals, orders: &Orders) -> LevelTotals {
    let (verified, different) = orders.verifier.counts();
    LevelTotals {
        sent: totals.sent,
        done: totals.done,
        failed: totals.failed,
        failures: totals.failures.clone(),
        verified,
        different,
    }
}

fn done(before: &Statistics, after: &Statistics) -> ServerSide {
    let mut sum = ModelStatistics::default();
    for (name, after) in after {
        let before = before.get(name).copied().unwrap_or_default();
        sum.add(&after.since(&before));
    }
    ServerSide::of(&sum)
}

fn nanoseconds(duration: Duration) -> u64 {
    whole(duration.as_secs_f64() * 1e9)
}
