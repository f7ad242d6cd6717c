//! A batch on a device: given to its streams by the instance's thread, answered by the device's
//! poller when it has landed. The instance forms its next batch in between.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use super::{
    Signature,
    gather::{Slabs, gather},
    scatter::scatter,
    worker::{Executed, answer, fail},
};
use crate::{
    backend::{BackendError, DeviceExecutor, Enqueued, Landing, enqueue},
    device::{HostSlab, cuda::DeviceError},
    inference::{Request, Statistics},
};

/// Gives the batch to the device. Its requests are answered, whatever becomes of it.
pub(super) fn launch(
    executor: &mut dyn DeviceExecutor,
    requests: Vec<Request>,
    start: Instant,
    signature: &Arc<Signature>,
    statistics: &Arc<Statistics>,
) {
    let lane = Arc::clone(executor.lane());
    let gathered = gather(&requests, signature, Slabs::Pinned(lane.device().pinned()));
    let enqueued = gathered.and_then(|batch| {
        // A backend that panics fails its batch, not the instance.
        catch_unwind(AssertUnwindSafe(|| enqueue(executor, batch)))
            .unwrap_or_else(|_| Err(BackendError::Failed("the backend panicked".to_owned())))
    });
    let Enqueued { work, landing } = match enqueued {
        Ok(enqueued) => enqueued,
        Err(error) => return fail(requests, &error.into(), statistics),
    };
    let flight = Flight {
        requests,
        landing,
        start,
        enqueued: Instant::now(),
        signature: Arc::clone(signature),
        statistics: Arc::clone(statistics),
    };
    lane.launch(work, move |landed| flight.land(landed));
}

struct Flight {
    requests: Vec<Request>,
    landing: Landing,
    start: Instant,
    enqueued: Instant,
    signature: Arc<Signature>,
    statistics: Arc<Statistics>,
}

impl Flight {
    fn land(self, landed: Result<Vec<HostSlab>, DeviceError>) {
        let done = Instant::now();
        let responses = landed
            .map_err(BackendError::from)
            .and_then(|slabs| scatter(self.landing.land(slabs), &self.requests, &self.signature));
        match responses {
            Ok(responses) => {
                let executed = Executed {
                    responses,
                    start: self.start,
                    compute_input: self.enqueued - self.start,
                    compute_infer: done - self.enqueued,
                    compute_output: done.elapsed(),
                };
                answer(self.requests, executed, &self.statistics);
            }
            Err(error) => fail(self.requests, &error.into(), &self.statistics),
        }
    }
}
