//! What a thread saw, in parts of equal length that it reports as they end.

use std::sync::mpsc::Sender;

use super::{
    super::histogram::{Histogram, Sparse},
    Report, report,
};

/// What one thread saw in one part of the time.
#[derive(Debug)]
pub(in crate::perf) struct Slice {
    /// Which part.
    pub(in crate::perf) index: u64,
    pub(in crate::perf) models: Vec<ModelSlice>,
    /// How long after they were due requests were sent.
    pub(in crate::perf) lag: Sparse,
}

/// The same of one model.
#[derive(Clone, Debug, Default)]
pub(in crate::perf) struct ModelSlice {
    /// Of the requests that were answered well.
    pub(in crate::perf) latencies: Sparse,
    pub(in crate::perf) done: u64,
    pub(in crate::perf) failed: u64,
}

/// Collects them.
#[derive(Debug)]
pub(super) struct Recorder {
    index: u64,
    slice: u64,
    models: Vec<(Histogram, ModelSlice)>,
    lag: Histogram,
    reports: Sender<Report>,
}

impl Recorder {
    pub(super) fn new(slice: u64, models: usize, reports: Sender<Report>) -> Self {
        Self {
            index: 0,
            slice,
            models: vec![(Histogram::default(), ModelSlice::default()); models],
            lag: Histogram::default(),
            reports,
        }
    }

    /// When the current part ends.
    pub(super) fn end(&self) -> u64 {
        (self.index + 1) * self.slice
    }

    /// Reports the parts that are over.
    pub(super) fn turn(&mut self, now: u64) {
        while now >= self.end() {
            self.report();
        }
    }

    /// Reports the current part as it is.
    pub(super) fn report(&mut self) {
        let models = self.models.iter_mut().map(|(latencies, counts)| {
            let mut slice = std::mem::take(counts);
            slice.latencies = latencies.take();
            slice
        });
        let slice = Slice {
            index: self.index,
            models: models.collect(),
            lag: self.lag.take(),
        };
        self.index += 1;
        report(&self.reports, Report::Slice(slice));
    }

    pub(super) fn sent(&mut self, lag: u64) {
        self.lag.add(lag);
    }

    pub(super) fn done(&mut self, model: usize, latency: u64) {
        if let Some((latencies, slice)) = self.models.get_mut(model) {
            latencies.add(latency);
            slice.done += 1;
        }
    }

    pub(super) fn failed(&mut self, model: usize) {
        if let Some((_, slice)) = self.models.get_mut(model) {
            slice.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_ends_in_a_part_is_reported_with_it() {
        let (sender, reports) = mpsc::channel();
        let mut recorder = Recorder::new(100, 2, sender);
        recorder.done(0, 5);
        recorder.failed(1);
        recorder.turn(99);
        assert!(reports.try_recv().is_err());
        recorder.turn(250);
        recorder.done(1, 9);
        recorder.turn(300);
        let counts: Vec<(u64, u64, u64, u64)> = reports
            .try_iter()
            .map(|report| match report {
                Report::Slice(slice) => {
                    let [first, second] = &slice.models[..] else {
                        panic!("two models");
                    };
                    (slice.index, first.done, second.done, second.failed)
                }
                Report::End(_) => panic!("no end"),
            })
            .collect();
        assert_eq!(counts, [(0, 1, 0, 1), (1, 0, 0, 0), (2, 0, 1, 0)]);
    }
}
