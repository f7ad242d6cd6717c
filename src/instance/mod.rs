//! Instances: plain threads, each with one executor, that pull batches from a source, run them and
//! answer the requests. Knows nothing of models, versions and front doors.

mod decoupled;
mod flight;
mod gather;
mod pace;
mod peers;
mod scatter;
mod seat;
mod source;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

pub use self::{pace::Pace, peers::Peers, seat::Seat, source::BatchSource};
use crate::{
    backend::{BackendError, Executor},
    device::Affinity,
    inference::Statistics,
    model_config::{InputSpec, OutputSpec},
};

/// What an instance has to know of its model.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Inputs, in the configuration's order.
    pub inputs: Vec<InputSpec>,
    /// Outputs, in the configuration's order.
    pub outputs: Vec<OutputSpec>,
    /// Whether tensors have a leading batch dimension.
    pub has_batch_dimension: bool,
    /// Whether a request may have any number of responses.
    pub decoupled: bool,
}

/// A running instance. It ends when its source is closed and empty.
#[derive(Debug)]
pub struct Instance {
    thread: JoinHandle<()>,
}

/// An instance whose executor is being loaded on its own thread.
#[derive(Debug)]
pub struct Starting {
    thread: JoinHandle<()>,
    loaded: mpsc::Receiver<Result<(), BackendError>>,
}

impl Instance {
    /// Starts a thread that binds itself as `affinity` says, loads an executor with `load` (warm-up
    /// included) and then serves `source`, together with its `peers`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start<L>(
        name: &str,
        affinity: Option<Affinity>,
        load: L,
        source: Arc<dyn BatchSource>,
        peers: Arc<Peers>,
        signature: Arc<Signature>,
        statistics: Arc<Statistics>,
    ) -> Result<Starting, BackendError>
    where
        L: FnOnce() -> Result<Box<dyn Executor>, BackendError> + Send + 'static,
    {
        let (report, loaded) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // A panic while loading drops `report`, which `wait` takes for a failure.
                let bind = affinity.as_ref().map_or(Ok(()), Affinity::apply);
                let executor = match bind.map_err(BackendError::Failed).and_then(|()| load()) {
                    Ok(executor) => executor,
                    Err(error) => return drop(report.send(Err(error))),
                };
                let mut seat = Seat::new(executor, signature, statistics);
                if affinity.is_some() {
                    seat = seat.bound();
                }
                peers.join(seat.account().cloned());
                if report.send(Ok(())).is_ok() {
                    worker::run(seat, source.as_ref(), &peers);
                }
            })
            .map_err(|error| {
                BackendError::Failed(format!("cannot start a thread for '{name}': {error}"))
            })?;
        Ok(Starting { thread, loaded })
    }

    /// Waits for the thread's end. To be called after its source was closed.
    pub fn join(self) {
        // A panic of the thread was reported where it happened.
        drop(self.thread.join());
    }
}

impl Starting {
    /// Waits until the executor is loaded.
    ///
    /// # Errors
    /// Why it could not be; the thread has ended then.
    pub fn wait(self) -> Result<Instance, BackendError> {
        let failure = match self.loaded.recv() {
            Ok(Ok(())) => {
                return Ok(Instance {
                    thread: self.thread,
                });
            }
            Ok(Err(error)) => error,
            Err(mpsc::RecvError) => {
                BackendError::Failed("the backend panicked while loading".to_owned())
            }
        };
        drop(self.thread.join());
        Err(failure)
    }
}
