//! A loaded executor with all that it needs to run batches: whoever holds it can answer requests.

use std::{fmt, sync::Arc, time::Instant};

use super::{Pace, Signature, worker};
use crate::{
    backend::{BackendError, Executor},
    device::{Account, Lane, cuda::DeviceError},
    inference::{Request, Statistics},
};

/// A place to run batches at, one at a time.
pub struct Seat {
    executor: Box<dyn Executor>,
    signature: Arc<Signature>,
    statistics: Arc<Statistics>,
    pace: Pace,
    /// Whether batches must be run by the thread that loaded the executor.
    bound: bool,
    /// Where batches run, if not on the host.
    lane: Option<Arc<Lane>>,
}

impl Seat {
    /// A place around `executor`.
    pub fn new(
        mut executor: Box<dyn Executor>,
        signature: Arc<Signature>,
        statistics: Arc<Statistics>,
    ) -> Self {
        let on_device = executor.on_device();
        Self {
            lane: on_device.map(|executor| Arc::clone(executor.lane())),
            executor,
            signature,
            statistics,
            pace: Pace::default(),
            bound: false,
        }
    }

    /// The same place, for the calling thread only: it is bound to cores or a memory node, on which the
    /// executor's memory is.
    #[must_use]
    pub fn bound(mut self) -> Self {
        self.bound = true;
        self
    }

    /// Whether only the thread that loaded the executor may run batches here.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// What it takes of its device, if that is not the host.
    pub(super) fn account(&self) -> Option<&Arc<Account>> {
        self.lane.as_ref().map(|lane| lane.account())
    }

    /// Waits, where batches are under way while others are begun, until another may be.
    pub(super) fn wait_for_room(&self) {
        self.lane.iter().for_each(|lane| lane.wait_for_room());
    }

    /// Whether batches can be run here: not once the device is lost.
    pub(super) fn is_able(&self) -> bool {
        self.loss().is_none()
    }

    fn loss(&self) -> Option<&DeviceError> {
        self.lane.as_ref()?.lost()
    }

    /// Answers the requests with the reason why they cannot be run here.
    pub(super) fn refuse(&self, requests: Vec<Request>) {
        if let Some(error) = self.loss() {
            let error = BackendError::from(error.clone()).into();
            worker::fail(requests, &error, &self.statistics);
        }
    }

    /// Runs the requests as one batch and answers them; on a device, when it has landed.
    pub fn run<R>(&mut self, requests: R)
    where
        R: AsRef<[Request]> + IntoIterator<Item = Request>,
    {
        let start = Instant::now();
        let executor = self.executor.as_mut();
        worker::execute_and_answer(executor, requests, start, &self.signature, &self.statistics);
        // On a device it has only begun: who lends by pace lends no seat that has none.
        if self.lane.is_none() {
            self.pace.observe(start, start.elapsed());
        }
    }

    /// How long its batches take, and how often they come.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What is under way uses what the executor owns.
        self.lane.iter().for_each(|lane| lane.drain());
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
