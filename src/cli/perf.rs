//! `despina perf`.

use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};

use super::perf_flags::PerfFlags;
use crate::perf::{self, Progress};

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
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
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
