//! `despina serve`.

use std::{num::NonZero, process::ExitCode, sync::Arc, thread, time::Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::{banner, flags::ServeFlags};
use crate::{
    config::{self, Config},
    server::Server,
    telemetry::logging::Logging,
};

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(flags: &ServeFlags) -> Result<ExitCode> {
    let started = Instant::now();
    let config = configuration(flags)?;
    let logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
    for notice in flags.notices() {
        tracing::warn!("{notice}");
    }
    let cpu_count = thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.front_door_thread_count(cpu_count))
        .enable_all()
        .thread_name("front-door")
        .build()
        .context("cannot start the front doors' threads")?;
    let result = runtime.block_on(serve(&config, Arc::new(logging), started));
    // What still runs after the exit timeout is not waited for.
    runtime.shutdown_background();
    result
}

fn configuration(flags: &ServeFlags) -> Result<Config> {
    let mut config = match &flags.config {
        Some(path) => config::read(path)?,
        None => Config::default(),
    };
    flags.apply(&mut config)?;
    if config.repository.repositories.is_empty() {
        bail!(
            "no model repository: give one with --model-repository FOLDER, or in the --config file"
        );
    }
    Ok(config)
}

async fn serve(config: &Config, logging: Arc<Logging>, started: Instant) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::open(config, logging).await?;
    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    tokio::pin!(signalled);
    let mut reason = None;
    tokio::select! {
        failures = server.ready() => {
            let failures = failures?;
            if config.exit_on_error && !failures.is_empty() {
                server.stop().await?;
                bail!("{} failed to load, and exit_on_error is set", names(&failures));
            }
            print!("{}", banner::banner(&server, started.elapsed()));
        }
        signal = &mut signalled => reason = Some(signal),
    }
    let reason = match reason {
        Some(reason) => reason,
        None => signalled.await,
    };
    tracing::info!(
        signal = reason,
        "stopping: finishing the requests in flight"
    );
    server.stop().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn names(failures: &[crate::repository::LoadFailure]) -> String {
    let names: Vec<_> = failures
        .iter()
        .map(|failure| failure.model.as_str())
        .collect();
    names.join(", ")
}
