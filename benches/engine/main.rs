//! What is left of an engine's throughput once a server stands before it: a bare loop over ONNX Runtime, the
//! models in process, and a server over gRPC, in turn, round after round. Then how fast tensors are read from
//! JSON.
//!
//! ```text
//! python benches/engine/models.py FOLDER
//! cargo bench --bench engine -- --repository FOLDER [--only engine|json] [--model NAME] [--rounds N] [--seconds N]
//! ```
//!
//! Prints Markdown. Ratios are of the same round; generator and server are on one machine and share its
//! processors, so that rows for each second of processor time say more than rows a second.

#![allow(clippy::print_stdout, reason = "its output is what a benchmark is for")]

mod bare;
mod contender;
mod json;
#[path = "../overhead/process.rs"]
#[allow(dead_code)]
mod process;
mod report;
#[path = "../overhead/server.rs"]
#[allow(dead_code)]
mod server;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use self::{
    bare::Bare,
    contender::{Contender, Measured, Plan},
};

/// Rows of a batch that are tried.
const PERCEPTRON: [usize; 4] = [8, 16, 32, 64];
const RESNET: [usize; 3] = [1, 2, 4];

/// Measures what a server leaves of an engine's throughput.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where benches/engine/models.py put the models.
    #[arg(long)]
    repository: Option<PathBuf>,
    /// Measure one part only.
    #[arg(long)]
    only: Option<Part>,
    /// Measure one model only: perceptron or resnet.
    #[arg(long)]
    model: Option<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For how many seconds each time.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What cargo adds when it runs a benchmark, and leaves out when it runs tests.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare engine, with that model file.
    #[arg(long, hide = true)]
    bare_engine: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Engine,
    Json,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.bare_engine {
        return bare::serve(file);
    }
    if !arguments.bench {
        println!("not measured: start it with cargo bench");
        return Ok(());
    }
    let duration = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    report::print_setting();
    if arguments.only != Some(Part::Json) {
        let repository = arguments.repository.as_ref();
        let plan = Plan {
            repository: repository.context("--repository is needed")?.clone(),
            duration,
        };
        let only = arguments.model.as_deref();
        for (model, row, sizes) in [
            ("perceptron", vec![784], &PERCEPTRON[..]),
            ("resnet", vec![3, 224, 224], &RESNET[..]),
        ] {
            if only.is_none_or(|only| only == model) {
                engine(&plan, model, &row, sizes, arguments.rounds)?;
            }
        }
    }
    if arguments.only != Some(Part::Engine) {
        json::measure(arguments.rounds)?;
    }
    Ok(())
}

/// The bare loop at the batch size that suits it best, and the others beside it.
fn engine(plan: &Plan, model: &str, row: &[i64], sizes: &[usize], rounds: usize) -> Result<()> {
    let mut bare = Bare::start(&plan.file(model), row)?;
    let mut best = (sizes[0], 0.0);
    for &size in sizes {
        let rate = bare.measure(size, plan.duration / 4)?.rows_per_second;
        if rate > best.1 {
            best = (size, rate);
        }
    }
    let (rows, _) = best;
    let contenders = Contender::all(rows);
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); contenders.len() + 1];
    for round in 0..rounds {
        for step in 0..measured.len() {
            // Each round begins with another one.
            let index = (round + step) % measured.len();
            let one = match index.checked_sub(1) {
                None => bare.measure(rows, plan.duration)?,
                Some(index) => contenders[index].measure(plan, model)?,
            };
            measured[index].push(one);
        }
    }
    let names = contenders.iter().map(|contender| contender.name.as_str());
    report::print_engine(model, rows, names, &measured);
    Ok(())
}
