//! A decoupled backend for tests, with the inputs and outputs of Triton's `repeat` backend: each
//! element of `IN` is a response, sent after so many milliseconds as the same element of `DELAY`
//! says, and `WAIT` says how many milliseconds the instance takes no other request. After the last
//! response an end is sent by itself. A model that is not decoupled has one element.
//!
//! One thread answers each request, as many at a time as parameter `thread_count` says (256).

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Backend, BackendError, Batch, DecoupledExecutor, DecoupledRequest, Executor, LoadSpec, Outputs,
    Responder, parameters::parameter,
};
use crate::{
    device::Device,
    model_config::ModelConfig,
    tensor::{Buffer, Datatype, Shape, Tensor},
};

/// Requests answered at the same time by one instance, if the configuration does not say.
const THREAD_COUNT: usize = 256;
/// How often a thread that sleeps looks whether its client is gone.
const CANCEL_TICK: Duration = Duration::from_millis(10);

/// Places among the inputs.
const IN: usize = 0;
const DELAY: usize = 1;
const WAIT: usize = 2;
/// What a model must have: name, datatype, dimensions (`None` for one of any size).
const INPUTS: [(&str, Datatype, Option<i64>); 3] = [
    ("IN", Datatype::Int32, None),
    ("DELAY", Datatype::Uint32, None),
    ("WAIT", Datatype::Uint32, Some(1)),
];
const OUTPUTS: [(&str, Datatype, Option<i64>); 2] = [
    ("OUT", Datatype::Int32, Some(1)),
    ("IDX", Datatype::Uint32, Some(1)),
];

/// The `repeat` backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeat;

impl Backend for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }

    fn load(
        &self,
        spec: &LoadSpec<'_>,
        _device: Device,
    ) -> Result<Box<dyn Executor>, BackendError> {
        check(spec.config)?;
        let thread_count = parameter::<usize>(spec.config, "thread_count")?;
        Ok(Box::new(Repeater {
            instance: spec.instance.to_owned(),
            threads: Arc::new(Threads::new(thread_count.unwrap_or(THREAD_COUNT).max(1))),
        }))
    }
}

fn check(config: &ModelConfig) -> Result<(), BackendError> {
    if config.max_batch_size != 0 {
        return Err(BackendError::InvalidModel(
            "repeat backend only supports models with max_batch_size == 0".to_owned(),
        ));
    }
    let inputs = config.inputs.iter();
    let inputs = inputs.map(|input| (&*input.name, input.datatype, &input.dims));
    check_tensors("input", inputs, &INPUTS)?;
    let outputs = config.outputs.iter();
    let outputs = outputs.map(|output| (&*output.name, output.datatype, &output.dims));
    check_tensors("output", outputs, &OUTPUTS)
}

fn check_tensors<'a>(
    kind: &str,
    actual: impl ExactSizeIterator<Item = (&'a str, Datatype, &'a Shape)>,
    expected: &[(&str, Datatype, Option<i64>)],
) -> Result<(), BackendError> {
    let invalid = |message| Err(BackendError::InvalidModel(message));
    if actual.len() != expected.len() {
        return invalid(format!(
            "expected {} {kind}s, got {}",
            expected.len(),
            actual.len()
        ));
    }
    for ((name, datatype, dims), (want, of, size)) in actual.zip(expected) {
        let fits = dims.len() == 1 && size.is_none_or(|size| dims.first() == Some(&size));
        if name != *want || datatype != *of || !fits {
            let size = size.map_or_else(|| "any size".to_owned(), |size| format!("size {size}"));
            return invalid(format!(
                "expected {kind} '{want}' of datatype {of} with one dimension of {size}, got \
                 '{name}' of datatype {datatype} and shape {dims}"
            ));
        }
    }
    Ok(())
}

struct Repeater {
    instance: String,
    threads: Arc<Threads>,
}

impl Executor for Repeater {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        let plan = Plan::new(|index| batch.input(index))?;
        let [(value, delay)] = *plan.responses else {
            return Err(BackendError::InvalidInput(format!(
                "a model that is not decoupled has one response, but 'IN' has {} elements",
                plan.responses.len()
            )));
        };
        thread::sleep(delay + plan.wait);
        batch.outputs = response(value, 0);
        Ok(())
    }

    fn decoupled(&mut self) -> Option<&mut dyn DecoupledExecutor> {
        Some(self)
    }
}

impl DecoupledExecutor for Repeater {
    fn execute(&mut self, requests: Vec<DecoupledRequest>) {
        let mut wait = Duration::ZERO;
        for request in requests {
            match Plan::new(|index| request.input(index)) {
                Ok(plan) => {
                    wait = wait.max(plan.wait);
                    self.answer(plan.responses, request.responder);
                }
                Err(error) => request.responder.finish(Some(Err(error))),
            }
        }
        thread::sleep(wait);
    }
}

impl Repeater {
    fn answer(&self, responses: Vec<(i32, Duration)>, responder: Box<dyn Responder>) {
        let permit = Threads::enter(&self.threads);
        // If there is no thread to be had, the responder is dropped, which says so.
        let spawned = thread::Builder::new()
            .name(format!("{}_repeat", self.instance))
            .spawn(move || {
                repeat(&responses, responder);
                drop(permit);
            });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start a thread to answer a request");
        }
    }
}

impl Drop for Repeater {
    fn drop(&mut self) {
        self.threads.wait_until_none();
    }
}

fn repeat(responses: &[(i32, Duration)], mut responder: Box<dyn Responder>) {
    for (index, &(value, delay)) in responses.iter().enumerate() {
        let sent =
            sleep(delay, responder.as_ref()) && responder.send(Ok(response(value, index))).is_ok();
        if !sent {
            return;
        }
    }
    responder.finish(None);
}

/// Sleeps, but not for a client that is gone: then it is false.
fn sleep(delay: Duration, responder: &dyn Responder) -> bool {
    let end = Instant::now() + delay;
    loop {
        if responder.is_cancelled() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(CANCEL_TICK));
    }
}

fn response(value: i32, index: usize) -> Outputs {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let scalar = |datatype, bytes: [u8; 4]| {
        Some(Tensor {
            datatype,
            shape: Shape::new([1]),
            data: Buffer::from(bytes.to_vec()),
        })
    };
    vec![
        scalar(Datatype::Int32, value.to_le_bytes()),
        scalar(Datatype::Uint32, index.to_le_bytes()),
    ]
}

/// What a request asks for.
struct Plan {
    responses: Vec<(i32, Duration)>,
    wait: Duration,
}

impl Plan {
    fn new<'a>(input: impl Fn(usize) -> Option<&'a Tensor>) -> Result<Self, BackendError> {
        let words = |index: usize| {
            let bytes = input(index).and_then(|tensor| tensor.data.host());
            bytes
                .map(|bytes| bytes.as_chunks::<4>().0)
                .ok_or_else(|| BackendError::InvalidInput("an input is missing".to_owned()))
        };
        let (values, delays, wait) = (words(IN)?, words(DELAY)?, words(WAIT)?);
        if values.len() != delays.len() {
            return Err(BackendError::InvalidInput(format!(
                "expected IN and DELAY shape to match, got [{}] and [{}]",
                values.len(),
                delays.len()
            )));
        }
        let milliseconds = |word: &[u8; 4]| Duration::from_millis(u32::from_le_bytes(*word).into());
        Ok(Self {
            responses: values
                .iter()
                .map(|value| i32::from_le_bytes(*value))
                .zip(delays.iter().map(milliseconds))
                .collect(),
            wait: wait.first().map_or(Duration::ZERO, milliseconds),
        })
    }
}

/// The threads that answer.
struct Threads {
    count: Mutex<usize>,
    changed: Condvar,
    most: usize,
}

impl Threads {
    fn new(most: usize) -> Self {
        Self {
            count: Mutex::new(0),
            changed: Condvar::new(),
            most,
        }
    }

    /// Waits for a place.
    fn enter(threads: &Arc<Self>) -> ThreadPermit {
        let mut count = threads.wait(|count| count < threads.most);
        *count += 1;
        ThreadPermit(Arc::clone(threads))
    }

    fn wait_until_none(&self) {
        drop(self.wait(|count| count == 0));
    }

    fn wait(&self, until: impl Fn(usize) -> bool) -> MutexGuard<'_, usize> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed
            .wait_while(count, |count| !until(*count))
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct ThreadPermit(Arc<Threads>);

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        drop(count);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
#[path = "repeat_tests.rs"]
mod tests;
