//! The flags of `despina perf` on sequences, called as perf_analyzer's.

use std::ops::RangeInclusive;

use anyhow::{Result, ensure};
use clap::Args;

use crate::perf::SequenceSettings;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sequences")]
pub(super) struct PerfSequenceFlags {
    /// Sequences under way at the same time, with request rates [default: 4].
    #[arg(long, value_name = "COUNT")]
    num_of_sequences: Option<usize>,
    /// Requests of a sequence, on average [default: 20].
    #[arg(long, value_name = "COUNT")]
    sequence_length: Option<u64>,
    /// By how many per cent lengths differ from that, at most [default: 20].
    #[arg(long, value_name = "PERCENT")]
    sequence_length_variation: Option<f64>,
    /// Their numbers, taken in turn: START, or START:END [default: 1 and up].
    #[arg(long, value_name = "RANGE", value_parser = ids)]
    sequence_id_range: Option<RangeInclusive<u64>>,
}

impl PerfSequenceFlags {
    /// What they say; `None` if they say nothing.
    ///
    /// # Errors
    /// If a number makes no sense.
    pub(super) fn settings(&self) -> Result<Option<SequenceSettings>> {
        let usual = SequenceSettings::default();
        let settings = SequenceSettings {
            count: self.num_of_sequences.unwrap_or(usual.count),
            length: self.sequence_length.unwrap_or(usual.length),
            length_variation: self
                .sequence_length_variation
                .unwrap_or(usual.length_variation),
            ids: self
                .sequence_id_range
                .clone()
                .unwrap_or_else(|| usual.ids.clone()),
        };
        ensure!(settings.count > 0, "--num-of-sequences must be 1 at least");
        ensure!(settings.length > 0, "--sequence-length must be 1 at least");
        ensure!(
            (0.0..=100.0).contains(&settings.length_variation),
            "--sequence-length-variation must be from 0 to 100"
        );
        Ok((settings != usual).then_some(settings))
    }
}

/// `START` or `START:END`; the end is not one of them, as in perf_analyzer.
fn ids(text: &str) -> Result<RangeInclusive<u64>, String> {
    let most = *SequenceSettings::default().ids.end();
    let (start, end) = match text.split_once(':') {
        Some((start, end)) => (
            start,
            end.parse::<u64>().ok().and_then(|end| end.checked_sub(1)),
        ),
        None => (text, Some(most)),
    };
    match (start.parse::<u64>(), end) {
        (Ok(start), Some(end)) if (1..=end).contains(&start) && end <= most => Ok(start..=end),
        _ => Err(format!("it is START or START:END, from 1 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_numbers_end_before_their_end() {
        assert_eq!(ids("5"), Ok(5..=i64::MAX as u64));
        assert_eq!(ids("5:8"), Ok(5..=7));
        for wrong in ["", "0", "8:5", "5:5", "x", "1:x", "1:18446744073709551615"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
    }
}
