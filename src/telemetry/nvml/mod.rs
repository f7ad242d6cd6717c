//! What NVIDIA's management library tells of the GPUs: sampled now and then by a thread of its own, and
//! errors when they happen, by another.
//! The library is opened at run time. That it is not there, or does not know something, is never a
//! reason to fail: what is not known is left out. Decides nothing about devices.

mod mig;
mod reading;
mod sample;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use self::reading::Reader;
pub use self::{
    mig::mig_devices,
    reading::driver_version,
    sample::{Clock, EccError, GpuSample, MigDevice, PcieDirection, ThrottleReason},
    watch::{GpuWatch, Trouble, XidCounts},
};

/// Whether and how often GPUs are sampled.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether they are (Triton's `--allow-gpu-metrics`).
    pub enabled: bool,
    /// Seconds between two samples (Triton's `--metrics-interval-ms`).
    pub interval_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_seconds: 2.0,
        }
    }
}

impl Config {
    /// The time between two samples.
    ///
    /// # Errors
    /// One sentence, unless it is from 10 ms to an hour.
    pub fn interval(&self) -> Result<Duration, String> {
        Duration::try_from_secs_f64(self.interval_seconds)
            .ok()
            .filter(|interval| (Duration::from_millis(10)..=HOUR).contains(interval))
            .ok_or_else(|| {
                format!(
                    "gpu_metrics: interval_seconds is {}, it must be from 0.01 to 3600",
                    self.interval_seconds
                )
            })
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Samples the GPUs until it is dropped.
#[derive(Debug)]
pub struct GpuSampler {
    samples: GpuSamples,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was sampled last.
#[derive(Clone, Debug, Default)]
pub struct GpuSamples(Arc<ArcSwap<Vec<GpuSample>>>);

impl GpuSamples {
    /// In the library's order; empty before the first sample, and where there is no GPU or no
    /// library.
    pub fn latest(&self) -> Arc<Vec<GpuSample>> {
        self.0.load_full()
    }
}

impl GpuSampler {
    /// Begins. Opening the library may take seconds: the thread does it. `xids` is where errors are
    /// counted.
    ///
    /// # Errors
    /// As [`Config::interval`], and if no thread can be started.
    pub fn start(config: &Config, xids: XidCounts) -> Result<Self, String> {
        let interval = config.interval()?;
        let samples = GpuSamples::default();
        let (end, ended) = mpsc::channel();
        let store = samples.clone();
        let thread = thread::Builder::new()
            .name("gpu-telemetry".to_owned())
            .spawn(move || sample(&store, xids, interval, &ended))
            .map_err(|error| format!("cannot start a thread for GPU metrics: {error}"))?;
        Ok(Self {
            samples,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Where the samples are.
    pub fn samples(&self) -> GpuSamples {
        self.samples.clone()
    }
}

impl Drop for GpuSampler {
    /// Waits for a sample that is being taken, which may take a second.
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported; nothing else depends on it.
            drop(thread.join());
        }
    }
}

fn sample(samples: &GpuSamples, xids: XidCounts, interval: Duration, ended: &Receiver<()>) {
    let nvml = match reading::open() {
        Ok(nvml) => nvml,
        Err(reason) => {
            tracing::info!("no GPU metrics: {reason}");
            return;
        }
    };
    let mut reader = Reader::new(&nvml, xids);
    loop {
        samples.0.store(Arc::new(reader.read()));
        if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
