//! Finds settings of ONNX Runtime that suit a model and this machine: loads the model with each of a few
//! candidates, asks it under load in this process, and compares. Chooses, and can write what it chose
//! into the model's configuration; serves nothing.
//!
//! What is tried (`plan`) and what wins (`choose`) are decided by pure functions.

mod agree;
mod choose;
mod curve;
mod plan;
mod run;
#[cfg(test)]
mod tests;
mod write;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

pub use self::{
    choose::{Objective, Spread},
    curve::Point,
    run::{Progress, tune},
    write::write,
};
use crate::{config::Config, model_config::Edit, perf::Data};

/// What is to be tuned, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server whose models they are.
    pub config: Config,
    /// The models; all that can be tuned if there are none.
    pub models: Vec<String>,
    /// What is to be good.
    pub objective: Objective,
    /// Ninety-nine of a hundred answers must not take longer.
    pub latency_bound: Option<Duration>,
    /// What requests carry.
    pub data: Data,
    /// Requests under way; by the objective if not given.
    pub concurrency: Option<usize>,
    /// How often each candidate is measured, at least once.
    pub round_count: usize,
    /// How long each time, at least: slow models get more.
    pub window: Duration,
    /// By how much outputs may differ: absolutely below 1, relatively above.
    pub tolerance: f64,
}

/// What came of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub model: String,
    /// Where its configuration is.
    pub folder: PathBuf,
    /// Processors that the process may use.
    pub processor_count: usize,
    /// Requests that were under way.
    pub concurrency: usize,
    /// Rows of each.
    pub batch_size: usize,
    /// Each candidate; the first is the model as it is.
    pub candidates: Vec<Candidate>,
    /// Which of them is chosen.
    pub chosen: usize,
    /// What batches take with the one that is chosen.
    pub curve: Vec<Point>,
    /// What the curve says about batch sizes, if anything.
    pub advice: Option<String>,
}

/// One candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// In words.
    pub label: String,
    /// What it changes.
    #[serde(skip)]
    pub edit: Edit,
    /// Inferences a second.
    pub rate: Spread,
    /// Latency, in microseconds.
    pub p50_us: Spread,
    /// And its 99th percentile.
    pub p99_us: Spread,
    /// How many times better than the model as it is, round by round.
    pub gain: Spread,
    /// Why it cannot be chosen, if so.
    pub fault: Option<String>,
}

/// A model that is not tuned.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Its name.
    pub model: String,
    /// Why.
    pub why: String,
}

impl Outcome {
    /// What is to be changed; `None` if the model is best as it is.
    pub fn edit(&self) -> Option<&Edit> {
        let chosen = self.candidates.get(self.chosen)?;
        (!chosen.edit.is_empty()).then_some(&chosen.edit)
    }
}
