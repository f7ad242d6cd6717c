//! The server's life: assemble, open the doors, become ready, drain, stop.

mod assemble;
mod outlook;

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout_at};

pub use self::{
    assemble::{Rooms, assemble},
    outlook::{Outlook, Row, outlook},
};
use crate::{
    api::{Stage, grpc, http, metrics},
    config::{Config, Door},
    repository::{LoadFailure, Registry},
    telemetry::{logging::Logging, nvml::GpuSampler},
};

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
}

/// Where a server listens; `None` for doors that are disabled.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Addresses {
    pub http: Option<SocketAddr>,
    pub grpc: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
}

impl Server {
    /// Opens the doors and begins to load models. Until [`Server::ready`] returns, the server
    /// answers health checks with "live, not ready".
    ///
    /// # Errors
    /// If the configuration contradicts itself, a port is taken, or a repository is not there.
    pub async fn open(config: &Config, logging: Arc<Logging>) -> Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let [http_door, grpc_door, metrics_door] = [
            bind("http", &config.http).await?,
            bind("grpc", &config.grpc).await?,
            bind("metrics", &config.metrics).await?,
        ];
        let addresses = Addresses {
            http: address(http_door.as_ref()),
            grpc: address(grpc_door.as_ref()),
            metrics: address(metrics_door.as_ref()),
        };
        let gpu_sampler = (config.gpu_metrics.enabled && metrics_door.is_some())
            .then(|| GpuSampler::start(&config.gpu_metrics))
            .transpose()
            .map_err(anyhow::Error::msg)?;
        let gpus = gpu_sampler.as_ref().map(GpuSampler::samples);
        let rooms = assemble(config, logging)?;
        let (drain, draining) = watch::channel(false);
        let (end, ending) = watch::channel(false);
        let api = &rooms.api;
        let mut doors = Vec::new();
        doors.extend(
            http_door
                .map(|door| tokio::spawn(http::serve(door, Arc::clone(api), raised(&draining)))),
        );
        doors.extend(
            grpc_door
                .map(|door| tokio::spawn(grpc::serve(door, Arc::clone(api), raised(&draining)))),
        );
        let page = metrics_door.map(|door| {
            let gpus = gpus.unwrap_or_default();
            let ended = raised(&ending);
            tokio::spawn(metrics::serve(door, Arc::clone(api), gpus, ended))
        });
        Ok(Self {
            rooms,
            gpu_sampler,
            addresses,
            doors,
            page,
            drain,
            end,
            exit_timeout: config.exit_timeout(),
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

async fn bind(name: &str, door: &Door) -> Result<Option<TcpListener>> {
    if !door.enabled {
        return Ok(None);
    }
    let listener = TcpListener::bind((door.address.as_str(), door.port))
        .await
        .with_context(|| format!("{name} cannot listen on {}:{}", door.address, door.port))?;
    Ok(Some(listener))
}

fn address(door: Option<&TcpListener>) -> Option<SocketAddr> {
    door.and_then(|listener| listener.local_addr().ok())
}
