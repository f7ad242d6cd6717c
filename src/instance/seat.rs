//! A loaded executor with all that it needs to run batches: whoever holds it can answer requests.

use std::{fmt, sync::Arc, time::Instant};

use super::{Pace, Signature, worker};
use crate::{
    backend::Executor,
    inference::{Request, Statistics},
};

/// A place to run batches at, one at a time.
pub struct Seat {
    executor: Box<dyn Executor>,
    signature: Arc<Signature>,
    statistics: Arc<Statistics>,
    pace: Pace,
}

impl Seat {
    /// A place around `executor`.
    pub fn new(
        executor: Box<dyn Executor>,
        signature: Arc<Signature>,
        statistics: Arc<Statistics>,
    ) -> Self {
        Self {
            executor,
            signature,
            statistics,
            pace: Pace::default(),
        }
    }

    /// Runs the requests as one batch and answers them.
    pub fn run<R>(&mut self, requests: R)
    where
        R: AsRef<[Request]> + IntoIterator<Item = Request>,
    {
        let start = Instant::now();
        let executor = self.executor.as_mut();
        worker::execute_and_answer(executor, requests, start, &self.signature, &self.statistics);
        self.pace.observe(start, start.elapsed());
    }

    /// How long its batches take, and how often they come.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
