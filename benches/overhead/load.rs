//! The closed loop: so many callers, each with one request in flight, for a while; and what the
//! server and the client needed for it.
//!
//! The load starts before what is measured and ends after it, so that the processors' time and the
//! answers are counted between the same two instants, in full swing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::{task::JoinSet, time::timeout};

use super::{
    client::{Caller, Client},
    process::{self, Process},
};

/// Answers may take so long beyond the end before the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers for which a caller has room from the start.
const EXPECTED_ANSWERS: usize = 1 << 12;

/// How each case is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub warmup: Duration,
    pub duration: Duration,
    /// Most threads that callers run on.
    pub threads: usize,
}

impl Plan {
    /// Half of the processors are the client's.
    pub fn new(duration: Duration) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            warmup: Duration::from_millis(500),
            duration,
            threads: (processors / 2).clamp(1, 8),
        }
    }
}

/// What one case came to.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    pub requests_per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// The server's processor time per request.
    pub server_cpu: Duration,
    /// This process's processor time per request.
    pub client_cpu: Duration,
}

/// Drives the server with `concurrency` requests in flight.
///
/// # Errors
/// If a request fails or an answer is wrong.
pub fn measure<C: Client>(
    client: &C,
    concurrency: usize,
    plan: &Plan,
    server: &Process,
) -> Result<Measurement> {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = shares(concurrency, C::CALLERS_PER_CONNECTION, plan.threads)
        .into_iter()
        .map(|connections| {
            let drive = drive(client.clone(), connections, Arc::clone(&stop));
            let limit = plan.warmup + plan.duration + PATIENCE;
            thread::spawn(move || run(limit, drive))
        })
        .collect();
    let window = observe(plan, server);
    stop.store(true, Ordering::Relaxed);
    let mut samples = Vec::new();
    for thread in threads {
        samples.extend(
            thread
                .join()
                .map_err(|_| anyhow!("a client's thread panicked"))??,
        );
    }
    let (before, after) = window?;
    summarise(&samples, &before, &after)
}

/// The callers of each connection of each thread.
fn shares(concurrency: usize, callers_per_connection: usize, threads: usize) -> Vec<Vec<usize>> {
    let connections = (concurrency / callers_per_connection).max(1);
    let threads = threads.min(connections);
    let mut shares = vec![Vec::new(); threads];
    for connection in 0..connections {
        let spare = usize::from(connection < concurrency % connections);
        shares[connection % threads].push(concurrency / connections + spare);
    }
    shares
}

/// One answer.
struct Sample {
    finished: Instant,
    latency: Duration,
}

fn run(limit: Duration, drive: impl Future<Output = Result<Vec<Sample>>>) -> Result<Vec<Sample>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(async { timeout(limit, drive).await })
        .context("an answer did not come")?
}

async fn drive<C: Client>(
    client: C,
    connections: Vec<usize>,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Sample>> {
    let mut callers = JoinSet::new();
    for count in connections {
        for caller in client.connect(count).await? {
            callers.spawn(call(caller, Arc::clone(&stop)));
        }
    }
    let mut samples = Vec::new();
    while let Some(answers) = callers.join_next().await {
        samples.extend(answers??);
    }
    Ok(samples)
}

async fn call<C: Caller>(mut caller: C, stop: Arc<AtomicBool>) -> Result<Vec<Sample>> {
    let mut samples = Vec::with_capacity(EXPECTED_ANSWERS);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let finished = caller.exchange().await?;
        samples.push(Sample {
            finished,
            latency: finished - started,
        });
    }
    Ok(samples)
}

/// The state of both processes at an instant.
struct Snapshot {
    at: Instant,
    server_cpu: Duration,
    client_cpu: Duration,
}

impl Snapshot {
    fn take(server: &Process) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server_cpu: server.cpu_time()?,
            client_cpu: process::cpu_time(None)?,
        })
    }
}

fn observe(plan: &Plan, server: &Process) -> Result<(Snapshot, Snapshot)> {
    thread::sleep(plan.warmup);
    let before = Snapshot::take(server)?;
    thread::sleep(plan.duration);
    Ok((before, Snapshot::take(server)?))
}

fn summarise(samples: &[Sample], before: &Snapshot, after: &Snapshot) -> Result<Measurement> {
    let mut latencies: Vec<_> = samples
        .iter()
        .filter(|sample| (before.at..after.at).contains(&sample.finished))
        .map(|sample| sample.latency)
        .collect();
    ensure!(!latencies.is_empty(), "no answer came in time");
    latencies.sort_unstable();
    let count = u32::try_from(latencies.len())?;
    let percentile = |percent| latencies[(latencies.len() - 1) * percent / 100];
    Ok(Measurement {
        requests_per_second: f64::from(count) / (after.at - before.at).as_secs_f64(),
        p50: percentile(50),
        p99: percentile(99),
        server_cpu: after.server_cpu.saturating_sub(before.server_cpu) / count,
        client_cpu: after.client_cpu.saturating_sub(before.client_cpu) / count,
    })
}
