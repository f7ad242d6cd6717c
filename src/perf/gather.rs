//! Puts together what the threads report: parts of the time become windows, windows a level.

use std::collections::BTreeMap;

use super::{
    driver::{ModelSlice, Slice},
    histogram::{Histogram, Sparse},
    level::{Latency, ModelLevel, Moment, microseconds},
    stability::{self, Point},
};

/// A part of the time, of all threads together.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    models: Vec<Sums>,
    lag: Histogram,
    threads: usize,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    latencies: Histogram,
    done: u64,
    failed: u64,
}

/// What is known of the windows so far.
#[derive(Debug)]
pub(super) struct Gathering {
    threads: usize,
    /// Seconds.
    slice: f64,
    /// Parts before the first window.
    warmup: u64,
    /// Parts of a window.
    window: u64,
    percentile: Option<f64>,
    /// Parts that not every thread has reported.
    open: BTreeMap<u64, Whole>,
    current: Whole,
    windows: Vec<Whole>,
    points: Vec<Point>,
    series: Vec<Moment>,
}

/// How threads' time is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) threads: usize,
    /// Nanoseconds of a part.
    pub(super) slice: u64,
    /// Parts before the first window.
    pub(super) warmup: u64,
    /// Parts of a window.
    pub(super) window: u64,
}

impl Whole {
    fn add(&mut self, models: &[ModelSlice], lag: &Sparse) {
        self.models
            .resize_with(models.len().max(self.models.len()), Sums::default);
        for (sums, slice) in self.models.iter_mut().zip(models) {
            sums.latencies.merge(&slice.latencies);
            sums.done += slice.done;
            sums.failed += slice.failed;
        }
        self.lag.merge(lag);
    }

    fn merge(&mut self, mut other: Self) {
        let models: Vec<ModelSlice> = (other.models.iter_mut())
            .map(|sums| ModelSlice {
                latencies: sums.latencies.take(),
                done: sums.done,
                failed: sums.failed,
            })
            .collect();
        self.add(&models, &other.lag.take());
    }

    /// Of all models together.
    pub(super) fn latencies(&self) -> Histogram {
        let mut all = Histogram::default();
        for sums in &self.models {
            all.merge(&sums.latencies.clone().take());
        }
        all
    }

    pub(super) fn done(&self) -> u64 {
        self.models.iter().map(|sums| sums.done).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.models.iter().map(|sums| sums.failed).sum()
    }

    /// Requests that were answered within a target.
    pub(super) fn done_within(&self, nanoseconds: u64) -> u64 {
        let within = |sums: &Sums| sums.latencies.count_within(nanoseconds);
        self.models.iter().map(within).sum()
    }

    /// Microseconds.
    pub(super) fn lag_p99(&self) -> f64 {
        microseconds(self.lag.percentile(99.0))
    }

    /// Each model, which had so many seconds.
    pub(super) fn by_model(
        &self,
        names: &[String],
        seconds: f64,
        percentile: Option<f64>,
    ) -> Vec<ModelLevel> {
        let models = names.iter().zip(&self.models);
        models
            .map(|(name, sums)| ModelLevel {
                name: name.clone(),
                requests_per_second: sums.done as f64 / seconds,
                request_count: sums.done,
                failure_count: sums.failed,
                latency: Latency::of(&sums.latencies, percentile),
            })
            .collect()
    }
}

impl Gathering {
    pub(super) fn new(cut: Cut, percentile: Option<f64>) -> Self {
        Self {
            threads: cut.threads,
            slice: cut.slice as f64 / 1e9,
            warmup: cut.warmup,
            window: cut.window,
            percentile,
            open: BTreeMap::new(),
            current: Whole::default(),
            windows: Vec::new(),
            points: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Takes in what a thread reports; whether a window ended with it.
    pub(super) fn add(&mut self, slice: &Slice) -> bool {
        let whole = self.open.entry(slice.index).or_default();
        whole.add(&slice.models, &slice.lag);
        whole.threads += 1;
        let mut ended = false;
        // Each thread reports in order, so parts become complete in order.
        while let Some(entry) = self.open.first_entry()
            && entry.get().threads == self.threads
        {
            let index = *entry.key();
            let whole = entry.remove();
            ended |= self.complete(index, whole);
        }
        ended
    }

    /// Every thread has reported this part.
    fn complete(&mut self, index: u64, whole: Whole) -> bool {
        self.series.push(self.moment(index, &whole));
        let Some(measured) = index.checked_sub(self.warmup) else {
            return false;
        };
        self.current.merge(whole);
        if !(measured + 1).is_multiple_of(self.window) {
            return false;
        }
        let window = std::mem::take(&mut self.current);
        self.points.push(self.point(&window));
        self.windows.push(window);
        true
    }

    fn point(&self, window: &Whole) -> Point {
        let latencies = window.latencies();
        Point {
            rate: window.done() as f64 / self.window_seconds(),
            latency: self.percentile.map_or(latencies.mean(), |percent| {
                latencies.percentile(percent) as f64
            }),
        }
    }

    fn moment(&self, index: u64, whole: &Whole) -> Moment {
        let latencies = whole.latencies();
        let some = latencies.count() > 0;
        let at = |percent| some.then(|| microseconds(latencies.percentile(percent)));
        Moment {
            seconds: (index + 1) as f64 * self.slice,
            requests_per_second: whole.done() as f64 / self.slice,
            p50_us: at(50.0),
            p99_us: at(99.0),
            failure_count: whole.failed(),
            measured: false,
        }
    }

    /// Seconds of a window.
    pub(super) fn window_seconds(&self) -> f64 {
        self.window as f64 * self.slice
    }

    pub(super) fn window_count(&self) -> usize {
        self.windows.len()
    }

    /// The last window.
    pub(super) fn last(&self) -> Option<Point> {
        self.points.last().copied()
    }

    pub(super) fn is_stable(&self, percent: f64) -> bool {
        stability::is_stable(&self.points, percent)
    }

    /// The last three windows, or as many as there are, as one; and how many.
    pub(super) fn measured(&self) -> (Whole, usize) {
        let count = self.windows.len().min(stability::WINDOWS);
        let mut measured = Whole::default();
        for window in self.windows.iter().rev().take(count) {
            measured.merge(window.clone());
        }
        (measured, count)
    }

    /// Everything that was reported, whether a window ended with it or not.
    pub(super) fn everything(&mut self) -> Whole {
        let mut all = std::mem::take(&mut self.current);
        for whole in std::mem::take(&mut self.open).into_values() {
            all.merge(whole);
        }
        for window in &self.windows {
            all.merge(window.clone());
        }
        all
    }

    /// How it went, up to the last window; the parts of the last `count` windows are marked.
    pub(super) fn series(&self, count: usize) -> Vec<Moment> {
        let windows = self.windows.len();
        let part = |windows: usize| self.warmup + windows as u64 * self.window;
        let (first, end) = (part(windows - count.min(windows)), part(windows));
        let moments = self.series.iter().zip(0_u64..);
        moments
            .filter(|(_, index)| windows == 0 || *index < end)
            .map(|(moment, index)| Moment {
                measured: windows == 0 || index >= first,
                ..*moment
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut {
        threads: 2,
        slice: 500_000_000,
        warmup: 1,
        window: 2,
    };

    fn slice(index: u64, latencies: &[u64], failed: u64) -> Slice {
        let mut histogram = Histogram::default();
        for &latency in latencies {
            histogram.add(latency);
        }
        Slice {
            index,
            models: vec![ModelSlice {
                done: latencies.len() as u64,
                latencies: histogram.take(),
                failed,
            }],
            lag: Histogram::default().take(),
        }
    }

    #[test]
    fn windows_end_when_every_thread_has_reported_their_parts() {
        let mut gathering = Gathering::new(CUT, None);
        // The first thread is ahead; the warm-up does not count.
        for index in 0..5 {
            assert!(!gathering.add(&slice(index, &[100], 0)));
        }
        let ended: Vec<bool> = (0..5)
            .map(|i| gathering.add(&slice(i, &[200, 300], 1)))
            .collect();
        assert_eq!(ended, [false, false, true, false, true]);
        assert_eq!(gathering.window_count(), 2);
        let (measured, count) = gathering.measured();
        assert_eq!((measured.done(), measured.failed(), count), (12, 4, 2));
        assert_eq!(measured.latencies().max(), 300);
        assert_eq!(measured.done_within(250), 8);
        assert!((gathering.last().unwrap().rate - 6.0).abs() < 1e-9);
        assert!((gathering.last().unwrap().latency - 200.0).abs() < 1e-9);
        let marks: Vec<bool> = gathering
            .series(1)
            .iter()
            .map(|moment| moment.measured)
            .collect();
        assert_eq!(marks, [false, false, false, true, true]);
        let models = measured.by_model(&["m".to_owned()], 2.0, Some(50.0));
        assert!((models[0].requests_per_second - 6.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_in_no_window_is_part_of_everything() {
        let mut gathering = Gathering::new(CUT, Some(99.0));
        gathering.add(&slice(0, &[1], 0));
        gathering.add(&slice(1, &[1, 2], 3));
        let all = gathering.everything();
        assert_eq!((all.done(), all.failed()), (3, 3));
    }
}
