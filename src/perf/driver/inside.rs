//! The loop of a thread that hands its requests to models in this process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use smallvec::SmallVec;
use tokio::{task::yield_now, time::timeout_at};

use super::{
    super::{
        data::{Sample, Tensor},
        model::Model,
    },
    LOOK, Place, Report, Totals,
    chooser::Chooser,
    pacer::{Due, Pacer},
    recorder::Recorder,
    report,
};
use crate::{
    inference::{Input, Outcome, Request, Response, response_channel, response_stream},
    repository::Registry,
    tensor::{self, Shape},
};

/// Responses of a decoupled model that may wait to be read.
const UNREAD: usize = 64;
/// What timers are late at most; within it of a deadline, the thread looks again and again.
const COARSE: Duration = Duration::from_millis(2);
/// How long answers are waited for once no more requests are sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Models in this process, and what they are sent.
pub(in crate::perf) struct Calls {
    registry: Arc<Registry>,
    models: Vec<(Model, Vec<SmallVec<[Input; 2]>>)>,
}

impl Calls {
    /// Requests for those samples of the models.
    pub(in crate::perf) fn new(
        registry: &Arc<Registry>,
        models: &[Model],
        samples: &[Vec<Sample>],
    ) -> Self {
        let inputs = |samples: &Vec<Sample>| {
            let inputs = |sample: &Sample| sample.inputs.iter().map(input).collect();
            samples.iter().map(inputs).collect()
        };
        let models = models.iter().cloned();
        Self {
            registry: Arc::clone(registry),
            models: models.zip(samples.iter().map(inputs)).collect(),
        }
    }

    /// The outputs that the first model answers to one of its samples.
    ///
    /// # Errors
    /// Why it does not.
    pub(in crate::perf) async fn outputs(&self, sample: usize) -> Result<Vec<Tensor>, String> {
        let answer = self.call(0, sample).await?;
        Ok(answer.as_ref().map(outputs).unwrap_or_default())
    }

    /// Hands over a request; what its answer is, once it is there.
    async fn call(&self, model: usize, sample: usize) -> Result<Option<Response>, String> {
        let found = self.models.get(model);
        let found = found.and_then(|(model, inputs)| Some((model, inputs.get(sample)?)));
        let Some((model, inputs)) = found else {
            return Err("no such sample".to_owned());
        };
        let lease = self.registry.resolve(&model.name, model.version);
        let lease = lease.map_err(|error| error.to_string())?;
        if !model.decoupled {
            let (sender, receiver) = response_channel();
            if let Err(rejected) = lease.submit(Request::new(inputs.clone(), sender)) {
                rejected.answer();
            }
            return told(receiver.await).map(Some);
        }
        let (sender, mut stream) = response_stream(UNREAD);
        if let Err(rejected) = lease.submit(Request::new(inputs.clone(), sender)) {
            rejected.answer();
        }
        let mut first = None;
        while let Some(part) = stream.next().await {
            if let Some(outcome) = part.outcome {
                first.get_or_insert(told(outcome)?);
            }
        }
        Ok(first)
    }
}

fn told(outcome: Outcome) -> Result<Response, String> {
    outcome.map_err(|error| error.to_string())
}

fn input(tensor: &Tensor) -> Input {
    let tensor_of = tensor::Tensor {
        datatype: tensor.datatype,
        shape: Shape::from(&tensor.shape[..]),
        data: tensor.data.clone().into(),
    };
    Input::new(tensor.name.clone(), tensor_of)
}

/// Drives load until it is told to stop, and reports.
pub(in crate::perf) fn drive(place: Place, calls: &Calls) {
    let reports = place.reports.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let totals = match runtime {
        Ok(runtime) => runtime.block_on(Worker::new(place).run(calls)),
        Err(error) => Totals {
            broken: Some(error.to_string()),
            ..Totals::default()
        },
    };
    report(&reports, Report::End(totals));
}

struct Worker {
    place: Place,
    pacer: Pacer,
    chooser: Chooser,
    recorder: Recorder,
    totals: Totals,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Flight {
    due: u64,
    model: usize,
    sample: usize,
    keep: bool,
}

/// A request that has ended.
type Landed = (Flight, Result<Option<Response>, String>);

impl Worker {
    fn new(place: Place) -> Self {
        let orders = &place.orders;
        Self {
            pacer: Pacer::new(&orders.pacing, orders.threads, place.thread),
            chooser: Chooser::new(&place),
            recorder: Recorder::new(orders.slice, orders.requests.len(), place.reports.clone()),
            totals: Totals::default(),
            place,
        }
    }

    async fn run(mut self, calls: &Calls) -> Totals {
        tokio::time::sleep_until(self.place.orders.start.into()).await;
        let mut flights = FuturesUnordered::new();
        let mut give_up = None;
        loop {
            let now = self.place.orders.now();
            self.recorder.turn(now);
            let mut over = false;
            while let Some(flight) = self.next(now, flights.len(), &mut over) {
                let answer = calls.call(flight.model, flight.sample);
                flights.push(answer.map(move |answer| (flight, answer)));
            }
            if over {
                let give_up = *give_up.get_or_insert(Instant::now() + PATIENCE);
                if flights.is_empty() || self.place.orders.gives_up(give_up) {
                    break;
                }
            }
            let deadline = self.deadline(now, flights.len());
            let mut landed = next_until(&mut flights, deadline).await;
            let now = self.place.orders.now();
            while let Some(one) = landed {
                self.complete(one, now);
                landed = flights.next().now_or_never().flatten();
            }
        }
        for _ in 0..flights.len() {
            self.totals.fail("no answer came in time at the end");
        }
        self.recorder.report();
        self.totals
    }

    /// The request that is due; `over` is set if none will be any more.
    fn next(&mut self, now: u64, in_flight: usize, over: &mut bool) -> Option<Flight> {
        let orders = &self.place.orders;
        *over = orders.is_stopped();
        let Due::Now(due) = self.pacer.due(now, in_flight) else {
            return None;
        };
        if *over || !orders.take() {
            *over = true;
            return None;
        }
        let chosen = self.chooser.next(orders)?;
        self.pacer.sent();
        self.recorder.sent(now.saturating_sub(due));
        self.totals.sent += 1;
        Some(Flight {
            due,
            model: chosen.model,
            sample: chosen.sample,
            keep: chosen.keep,
        })
    }

    fn complete(&mut self, (flight, answer): Landed, now: u64) {
        let checked = answer.and_then(|response| match response {
            Some(response) if flight.keep => {
                let verifier = &self.place.orders.verifier;
                verifier.check_outputs(flight.model, flight.sample, Ok(outputs(&response)))
            }
            _ => Ok(()),
        });
        match checked {
            Ok(()) => {
                self.totals.done += 1;
                let latency = now.saturating_sub(flight.due);
                self.recorder.done(flight.model, latency);
            }
            Err(reason) => {
                self.totals.fail(&reason);
                self.recorder.failed(flight.model);
            }
        }
    }

    fn deadline(&mut self, now: u64, in_flight: usize) -> Instant {
        let mut time = self.recorder.end().min(now + LOOK);
        if let Due::At(due) = self.pacer.due(now, in_flight) {
            time = time.min(due);
        }
        self.place.orders.start + Duration::from_nanos(time)
    }
}

/// The next request that ends before the deadline.
async fn next_until<F>(flights: &mut FuturesUnordered<F>, deadline: Instant) -> Option<Landed>
where
    F: Future<Output = Landed>,
{
    if let Some(early) = deadline
        .checked_sub(COARSE)
        .filter(|early| *early > Instant::now())
    {
        if flights.is_empty() {
            tokio::time::sleep_until(early.into()).await;
        } else if let Ok(landed) = timeout_at(early.into(), flights.next()).await {
            return landed;
        }
    }
    loop {
        let landed = flights.next().now_or_never().flatten();
        if landed.is_some() || Instant::now() >= deadline {
            return landed;
        }
        yield_now().await;
    }
}

/// The outputs that the host can read.
fn outputs(response: &Response) -> Vec<Tensor> {
    let outputs = response.outputs.iter();
    outputs
        .map(|output| Tensor {
            name: output.name.to_string(),
            datatype: output.tensor.datatype,
            shape: output.tensor.shape.to_vec(),
            data: output
                .tensor
                .data
                .to_host_bytes()
                .unwrap_or_else(Bytes::new),
        })
        .collect()
}
