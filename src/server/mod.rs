//! The server's life: assemble, open the doors, become ready, drain, stop.

mod assemble;
mod findings;
mod outlook;
mod ports;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{sync::watch, task::JoinHandle, time::timeout_at};

use self::ports::Ports;
pub use self::{
    assemble::{Rooms, assemble, engine_builder},
    findings::{Findings, FoundBackend, FoundGpu, findings},
    outlook::{Outlook, Row, outlook},
    ports::{Address, Addresses},
};
use crate::{
    api::{Stage, grpc, http, metrics},
    config::Config,
    follow::Follower,
    repository::{LoadFailure, Registry},
    telemetry::{
        logging::Logging,
        nvml::{GpuSampler, GpuWatch},
    },
};

/// How often files that are followed are looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// What unloading the models may take at least, however long the requests took.
const UNLOAD_TIME: Duration = Duration::from_secs(1);

/// A server with its doors open.
pub struct Server {
    rooms: Rooms,
    gpu_sampler: Option<GpuSampler>,
    addresses: Addresses,
    /// Doors that clients' requests come through.
    doors: Vec<JoinHandle<()>>,
    /// The metrics page, which stays open until the end.
    page: Option<JoinHandle<()>>,
    drain: watch::Sender<bool>,
    end: watch::Sender<bool>,
    exit_timeout: Duration,
    /// Reads keys, policy and certificates again when their files change.
    _follower: Follower,
    /// Fetches keys again that are at a URL.
    _fetcher: Follower,
}

impl Server {
    /// Opens the doors and begins to load models. Until [`Server::ready`] returns, the server
    /// answers health checks with "live, not ready".
    ///
    /// # Errors
    /// If the configuration contradicts itself, a port is taken, or a repository is not there.
    pub async fn open(config: &Config, logging: Arc<Logging>) -> Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let ports = Ports::bind(config).await?;
        let rooms = assemble(config, logging)?;
        let xids = rooms.gpu_watch.as_ref().map(GpuWatch::counts);
        let gpu_sampler = (config.gpu_metrics.enabled && ports.metrics.is_some())
            .then(|| GpuSampler::start(&config.gpu_metrics, xids.unwrap_or_default()))
            .transpose()
            .map_err(anyhow::Error::msg)?;
        let gpus = gpu_sampler.as_ref().map(GpuSampler::samples);
        let (drain, draining) = watch::channel(false);
        let (end, ending) = watch::channel(false);
        let api = &rooms.api;
        let followed = ports.followed.into_iter().chain(api.gate.followed());
        let follower = Follower::start(FOLLOW_INTERVAL, followed.collect())
            .context("no thread to follow files")?;
        let fetcher = Follower::start(FOLLOW_INTERVAL, api.gate.fetched().into_iter().collect())
            .context("no thread to fetch keys")?;
        let mut doors = Vec::new();
        for port in [ports.http, ports.management_http].into_iter().flatten() {
            let served = http::serve(port, Arc::clone(api), raised(&draining));
            doors.push(tokio::spawn(served));
        }
        for port in [ports.grpc, ports.management_grpc].into_iter().flatten() {
            let served = grpc::serve(port, Arc::clone(api), raised(&draining));
            doors.push(tokio::spawn(served));
        }
        let page = ports.metrics.map(|port| {
            let gpus = gpus.unwrap_or_default();
            let ended = raised(&ending);
            tokio::spawn(metrics::serve(port, Arc::clone(api), gpus, ended))
        });
        Ok(Self {
            rooms,
            gpu_sampler,
            addresses: ports.addresses,
            doors,
            page,
            drain,
            end,
            exit_timeout: config.exit_timeout(),
            _follower: follower,
            _fetcher: fetcher,
        })
    }

    /// Waits until every model was loaded or has failed, and takes requests from then on. Returns
    /// the failures.
    ///
    /// # Errors
    /// If the repository's control loop ended.
    pub async fn ready(&self) -> Result<Vec<LoadFailure>> {
        let failures = self.rooms.repository.initial_load_finished().await?;
        self.rooms.api.readiness.set(Stage::Ready);
        Ok(failures)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What it serves.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.rooms.registry
    }

    /// Not ready from now on; takes no new connections, finishes the requests in flight, unloads
    /// the models. Bounded by the configured time.
    ///
    /// # Errors
    /// If time ran out before everything was finished.
    pub async fn stop(self) -> Result<()> {
        let deadline = Instant::now() + self.exit_timeout;
        self.rooms.api.readiness.set(Stage::Exiting);
        self.drain.send_replace(true);
        let mut unfinished = 0;
        for mut door in self.doors {
            if timeout_at(deadline.into(), &mut door).await.is_err() {
                door.abort();
                unfinished += 1;
            }
        }
        let Rooms {
            repository,
            tracing,
            gpu_watch,
            ..
        } = self.rooms;
        // What the doors did not leave is not taken from the unloading.
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(UNLOAD_TIME);
        let gpu_sampler = self.gpu_sampler;
        let unloaded = tokio::task::spawn_blocking(move || {
            let stopped = repository.stop(left);
            tracing.stop();
            drop(gpu_sampler);
            drop(gpu_watch);
            stopped
        })
        .await;
        self.end.send_replace(true);
        if let Some(mut page) = self.page
            && timeout_at(deadline.into(), &mut page).await.is_err()
        {
            // A scrape that hangs is no reason to fail.
            page.abort();
        }
        if unfinished > 0 {
            bail!(
                "requests were still in flight after {} s",
                self.exit_timeout.as_secs()
            );
        }
        unloaded.context("unloading panicked")??;
        Ok(())
    }
}

/// Becomes ready when the flag is raised, or when nobody can raise it any more.
fn raised(flag: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut flag = flag.clone();
    async move {
        // An error is the sender's end, which is the server's.
        drop(flag.wait_for(|raised| *raised).await);
    }
}
