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
    backend::{BackendError, Delivery, DeviceExecutor, Enqueued, Landing, Routes, enqueue},
    device::{
        Account,
        cuda::{DeviceError, Landed},
    },
    inference::{Request, Response, Statistics},
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
    let batch = gather(&requests, signature, Slabs::Pinned(lane.device().pinned()));
    let gathered = Instant::now();
    let (routes, receivers) = routes(&requests);
    let enqueued = batch.and_then(|batch| {
        // A backend that panics fails its batch, not the instance.
        catch_unwind(AssertUnwindSafe(|| enqueue(executor, batch, routes)))
            .unwrap_or_else(|_| Err(BackendError::Failed("the backend panicked".to_owned())))
    });
    let Enqueued { work, landing } = match enqueued {
        Ok(enqueued) => enqueued,
        Err(error) => return fail(requests, &error.into(), statistics),
    };
    let flight = Flight {
        requests,
        receivers,
        landing,
        start,
        gathered,
        account: Arc::clone(lane.account()),
        signature: Arc::clone(signature),
        statistics: Arc::clone(statistics),
    };
    lane.launch(work, move |landed| flight.land(landed));
}

struct Flight {
    requests: Vec<Request>,
    /// Which request each delivery is for.
    receivers: Vec<usize>,
    landing: Landing,
    start: Instant,
    gathered: Instant,
    account: Arc<Account>,
    signature: Arc<Signature>,
    statistics: Arc<Statistics>,
}

impl Flight {
    fn land(self, landed: Result<Landed, DeviceError>) {
        let responses = landed.map_err(BackendError::from).and_then(|landed| {
            let executed = self.landing.land(landed);
            self.account.compute(executed.times.infer);
            let mut responses = scatter(executed.batch, &self.requests, &self.signature)?;
            for (delivery, request) in executed.deliveries.into_iter().zip(self.receivers) {
                if let Some(response) = responses.get_mut(request) {
                    note_delivery(response, delivery);
                }
            }
            Ok((responses, executed.times))
        });
        match responses {
            Ok((responses, times)) => {
                let compute_input = self.gathered - self.start + times.input;
                let executed = Executed {
                    responses,
                    start: self.start,
                    compute_input,
                    compute_infer: times.infer,
                    compute_output: self
                        .start
                        .elapsed()
                        .saturating_sub(compute_input + times.infer),
                };
                answer(self.requests, executed, &self.statistics);
            }
            Err(error) => fail(self.requests, &error.into(), &self.statistics),
        }
    }
}

/// Where the requests want their outputs, and which request each delivery is for.
fn routes(requests: &[Request]) -> (Routes, Vec<usize>) {
    let (mut routes, mut receivers) = (Routes::default(), Vec::new());
    let mut row = 0;
    for (number, request) in requests.iter().enumerate() {
        let rows = row..row + request.batch_size;
        row = rows.end;
        for (place, &output) in request.wanted.iter().enumerate() {
            let mut destinations = request.destinations.iter();
            if let Some((_, destination)) = destinations.find(|(wanted, _)| *wanted == place) {
                receivers.push(number);
                routes.deliveries.push(Delivery {
                    output,
                    rows: rows.clone(),
                    destination: Some(destination.clone()),
                });
            } else if !routes.on_host.contains(&output) {
                routes.on_host.push(output);
            }
        }
    }
    (routes, receivers)
}

/// The output is where it was wanted.
fn note_delivery(response: &mut Response, delivery: Delivery) {
    let mut outputs = response.outputs.iter_mut();
    if let Some(destination) = delivery.destination
        && let Some(output) = outputs.find(|output| output.index == delivery.output)
    {
        output.tensor.data = destination;
    }
}
