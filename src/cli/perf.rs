//! `despina perf`.

use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::perf_flags::PerfFlags;
use crate::perf::{self, Interrupt, Progress};

/// The exit code of a run that Ctrl-C or SIGTERM ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Measures, and writes what came of it. The exit code is 1 if any request failed.
pub(super) fn run(flags: &PerfFlags) -> Result<ExitCode> {
    let settings = flags.settings()?;
    let interactive = stderr().is_terminal() && !flags.quiet;
    let mut watch = |progress: &Progress| {
        if interactive {
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{}", line(progress));
        }
    };
    end_on_signal(Arc::clone(&settings.interrupt))?;
    let outcome = perf::run(&settings, &mut watch);
    if interactive {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    let report = outcome?;
    if flags.json {
        println!("{}", perf::json(&report)?);
    } else {
        print!("{}", perf::table(&report));
    }
    if let Some(path) = &flags.csv {
        write(path, &perf::csv(&report))?;
    }
    if let Some(path) = &flags.html {
        write(path, &perf::html(&report))?;
    }
    let failed = report.levels.iter().any(|level| level.totals.failed > 0);
    Ok(if report.is_interrupted {
        ExitCode::from(INTERRUPTED)
    } else if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Has Ctrl-C and SIGTERM end the run, so that it reports what it has and leaves no shared memory behind.
/// Once more, and it waits for no more answers.
fn end_on_signal(interrupt: Arc<Interrupt>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let mut keyboard = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    let wait = async move {
        loop {
            tokio::select! {
                _ = keyboard.recv() => interrupt.raise(),
                _ = terminate.recv() => interrupt.raise(),
            }
        }
    };
    let thread = thread::Builder::new().name("perf-signals".to_owned());
    thread.spawn(move || runtime.block_on(wait))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn line(progress: &Progress) -> String {
    let load = progress.load.name().to_lowercase();
    let mut line = format!(
        "{load} {}: window {} of at most {}",
        progress.load.label(),
        progress.window + 1,
        progress.most_windows
    );
    if let (Some(rate), Some(latency)) = (progress.requests_per_second, progress.latency_us) {
        line.push_str(&format!(", {rate:.0} requests/s, {latency:.0} µs"));
    }
    line
}
