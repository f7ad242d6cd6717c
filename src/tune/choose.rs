//! Which candidate is best. Candidates are measured in turn, round after round, and each is compared with
//! the model as it is in the same round, so that what the machine does meanwhile falls on both. Pure.

use std::time::Duration;

use serde::Serialize;

use super::plan::change_count;
use crate::model_config::Edit;

/// A gain that is not one: so much comes from noise.
const MARGIN: f64 = 0.03;
/// Candidates that are so near to the best are as good.
const AS_GOOD: f64 = 0.99;
/// The share of rounds in which a candidate must be better.
const ROUNDS: f64 = 0.8;

/// What is to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Inferences a second.
    Throughput,
    /// The median of the latency.
    Latency,
}

/// What one candidate came to in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Inferences a second.
    pub(super) rate: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// A candidate and what it came to.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) edit: Edit,
    /// By round.
    pub(super) samples: Vec<Sample>,
    /// Why it cannot be chosen, if so.
    pub(super) fault: Option<String>,
}

impl Trial {
    pub(super) fn new(edit: Edit) -> Self {
        Self {
            edit,
            samples: Vec::new(),
            fault: None,
        }
    }
}

/// The median, and what lies around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The value in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these; zeros if there are none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            least: at(0),
            most: at(last),
        }
    }
}

impl Objective {
    /// How many times better `own` is than `base`, round by round.
    pub(super) fn gains(self, base: &[Sample], own: &[Sample]) -> Vec<f64> {
        let rounds = base.iter().zip(own);
        rounds
            .map(|(base, own)| match self {
                Self::Throughput => own.rate / base.rate,
                Self::Latency => base.p50_us / own.p50_us,
            })
            .collect()
    }

    /// Whether `own` is better than `base` by more than noise, and in nearly all rounds.
    pub(super) fn is_better(self, base: &[Sample], own: &[Sample]) -> bool {
        let gains = self.gains(base, own);
        let better = gains.iter().filter(|gain| **gain > 1.0).count();
        let is_often = better as f64 >= ROUNDS * gains.len() as f64;
        is_often && Spread::of(gains).median >= 1.0 + MARGIN
    }

    /// The best of the trials, the first of which is the model as it is: another must be better than that by
    /// more than noise, and in nearly all rounds. Of those that are about as good, the one that changes
    /// least. A latency bound counts where one of them keeps it.
    pub(super) fn best(self, trials: &[Trial], bound: Option<Duration>) -> usize {
        let Some(base) = trials.first() else {
            return 0;
        };
        let allowed = within(trials, bound);
        let must_change = !allowed.contains(&0);
        let worth: Vec<(usize, f64)> = allowed
            .into_iter()
            .filter_map(|index| {
                let trial = trials.get(index)?;
                if index == 0 {
                    return Some((0, 1.0));
                }
                let wins = must_change || self.is_better(&base.samples, &trial.samples);
                let gain = Spread::of(self.gains(&base.samples, &trial.samples)).median;
                wins.then_some((index, gain))
            })
            .collect();
        let most = worth.iter().map(|(_, gain)| *gain).fold(0.0, f64::max);
        let as_good = worth.iter().filter(|(_, gain)| *gain >= most * AS_GOOD);
        let simplest = as_good.min_by_key(|(index, _)| {
            let edit = trials.get(*index).map(|trial| change_count(&trial.edit));
            (edit, *index)
        });
        simplest.map_or(0, |(index, _)| *index)
    }
}

/// Those that can be chosen, and keep the bound if any does.
fn within(trials: &[Trial], bound: Option<Duration>) -> Vec<usize> {
    let sound = trials.iter().enumerate();
    let sound: Vec<_> = sound.filter(|(_, trial)| trial.fault.is_none()).collect();
    let keeps = |trial: &Trial| {
        let p99 = Spread::of(trial.samples.iter().map(|sample| sample.p99_us)).median;
        bound.is_none_or(|bound| p99 <= bound.as_secs_f64() * 1e6)
    };
    let keeping: Vec<_> = sound.iter().filter(|(_, trial)| keeps(trial)).collect();
    if keeping.is_empty() {
        return sound.iter().map(|(index, _)| *index).collect();
    }
    keeping.iter().map(|(index, _)| *index).collect()
}
