//! `despina tune`.

use std::{
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::{ArgAction, Args, ValueEnum};
use serde_json::json;

use super::{data_flags::DataFlags, flags::boolean, plan::table};
use crate::{
    backend::onnxruntime,
    config::Config,
    tune::{Candidate, Objective, Outcome, Progress, Settings, Skipped, Spread, tune, write},
};

/// What to tune, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct TuneFlags {
    /// The model repository.
    repository: PathBuf,
    /// A model; all that run on ONNX Runtime if none is given. May be given more than once.
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// What is to be good.
    #[arg(long, value_name = "OBJECTIVE", default_value = "throughput")]
    objective: ObjectiveFlag,
    /// Of 100 answers, 99 must not take longer; in milliseconds.
    #[arg(long, value_name = "MILLISECONDS")]
    latency_bound_ms: Option<f64>,
    /// Requests under way [default: 4 for each processor and at least 8, or 1 for latency].
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<usize>,
    /// How often each candidate is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
    /// How long each time, at least, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 400)]
    measurement_interval: u64,
    /// By how much outputs may differ from those of the model as it is: absolutely below 1, relatively
    /// above.
    #[arg(long, value_name = "NUMBER", default_value_t = 1e-3)]
    tolerance: f64,
    /// Write what was found into the models' config.pbtxt. Everything else in them stays as it is, and
    /// the file as it was is kept beside it the first time.
    #[arg(long)]
    write: bool,
    /// Print the results as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    data: DataFlags,
    /// libonnxruntime's file; otherwise it is looked for.
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    onnxruntime_library: Option<PathBuf>,
    /// Whether pip may download ONNX Runtime if it is not found.
    #[arg(long, env = "DESPINA_ONNXRUNTIME_DOWNLOAD", value_name = "BOOL",
          value_parser = boolean, action = ArgAction::Set, default_value = "true")]
    onnxruntime_download: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ObjectiveFlag {
    Throughput,
    Latency,
}

/// Tunes, prints what was found, and writes it if that is wanted.
pub(super) fn run(flags: &TuneFlags) -> Result<ExitCode> {
    let settings = flags.settings()?;
    let interactive = stderr().is_terminal() && !flags.quiet;
    let mut watch = |progress: &Progress<'_>| {
        if interactive {
            let Progress { model, label, done } = progress;
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{model}: {label} ({done} measured)");
        }
    };
    let tuned = tune(&settings, &mut watch);
    if interactive {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    let (outcomes, skipped) = tuned?;
    if flags.json {
        println!("{}", as_json(&outcomes, &skipped));
    } else {
        for outcome in &outcomes {
            print!("{}", report(outcome, &settings));
        }
        for Skipped { model, why } in &skipped {
            println!("{model}: not tuned: {why}");
        }
    }
    for outcome in outcomes.iter().filter(|_| flags.write) {
        if let Some(edit) = outcome.edit() {
            let file = write(&outcome.folder, edit)?;
            eprintln!("despina: {} written", file.display());
        }
    }
    Ok(if outcomes.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl TuneFlags {
    fn settings(&self) -> Result<Settings> {
        let is_number = |number: f64| number.is_finite() && number >= 0.0;
        ensure!(is_number(self.tolerance), "--tolerance must be 0 at least");
        let bound = self.latency_bound_ms;
        ensure!(
            bound.is_none_or(|bound| is_number(bound) && bound > 0.0),
            "--latency-bound-ms must be more than 0"
        );
        ensure!(self.rounds > 0, "--rounds must be 1 at least");
        ensure!(
            self.concurrency != Some(0),
            "--concurrency must be 1 at least"
        );
        let mut config = Config {
            onnxruntime: onnxruntime::Config {
                library: self.onnxruntime_library.clone(),
                download: self.onnxruntime_download,
                ..onnxruntime::Config::default()
            },
            ..Config::default()
        };
        config.repository.repositories = vec![self.repository.clone()];
        Ok(Settings {
            config,
            models: self.models.clone(),
            objective: match self.objective {
                ObjectiveFlag::Throughput => Objective::Throughput,
                ObjectiveFlag::Latency => Objective::Latency,
            },
            latency_bound: bound.and_then(|bound| Duration::try_from_secs_f64(bound / 1e3).ok()),
            data: self.data.data()?,
            concurrency: self.concurrency,
            round_count: self.rounds,
            window: Duration::from_millis(self.measurement_interval.max(10)),
            tolerance: self.tolerance,
        })
    }
}

fn as_json(outcomes: &[Outcome], skipped: &[Skipped]) -> String {
    let models: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let mut model = json!(outcome);
            let edit = outcome.edit();
            model["config"] = json!(edit.map(|edit| edit.to_pbtxt()).unwrap_or_default());
            model
        })
        .collect();
    json!({ "models": models, "skipped": skipped }).to_string()
}

fn report(outcome: &Outcome, settings: &Settings) -> String {
    let wanted = match settings.objective {
        Objective::Throughput => "throughput",
        Objective::Latency => "latency",
    };
    let mut text = format!(
        "{}: {wanted} on {} processors, {} requests of {} rows under way, {} rounds\n",
        outcome.model,
        outcome.processor_count,
        outcome.concurrency,
        outcome.batch_size,
        settings.round_count
    );
    let head = ["", "SETTINGS", "INFER/S", "P50 US", "P99 US", "GAIN"];
    let mut lines = vec![head.map(str::to_owned)];
    let candidates = outcome.candidates.iter().enumerate();
    lines.extend(candidates.map(|(index, candidate)| row(candidate, index == outcome.chosen)));
    text.push_str(&table(&lines));
    let mut lines = vec![["ROWS", "P50 US", "ROWS/S"].map(str::to_owned)];
    lines.extend(outcome.curve.iter().map(|point| {
        let numbers = [point.latency_us, point.rate].map(|number| format!("{number:.0}"));
        let [latency, rate] = numbers;
        [point.batch_size.to_string(), latency, rate]
    }));
    text.push_str(&format!("\n{}", table(&lines)));
    if let Some(advice) = &outcome.advice {
        text.push_str(&format!("{advice}\n"));
    }
    text.push_str(&match outcome.edit() {
        Some(edit) => format!("\nfor its config.pbtxt:\n{}\n", fragment(edit)),
        None => "\nit is best as it is\n\n".to_owned(),
    });
    text
}

fn row(candidate: &Candidate, is_chosen: bool) -> [String; 6] {
    let Candidate {
        label,
        rate,
        p50_us,
        p99_us,
        gain,
        fault,
        ..
    } = candidate;
    let mark = if is_chosen { "*" } else { "" }.to_owned();
    if let Some(fault) = fault {
        let none = || "-".to_owned();
        return [mark, label.clone(), none(), none(), none(), fault.clone()];
    }
    let spread = |of: &Spread| format!("{:.0} ({:.0}-{:.0})", of.median, of.least, of.most);
    let gain = format!("{:.2} ({:.2}-{:.2})", gain.median, gain.least, gain.most);
    let [rate, p50, p99] = [rate, p50_us, p99_us].map(spread);
    [mark, label.clone(), rate, p50, p99, gain]
}

/// What is to be written, and what is to be taken out.
fn fragment(edit: &crate::model_config::Edit) -> String {
    let removed = edit.parameters.iter().filter(|(_, value)| value.is_none());
    let removed = removed.map(|(key, _)| format!("# take out the parameter \"{key}\"\n"));
    removed.collect::<String>() + &edit.to_pbtxt()
}
