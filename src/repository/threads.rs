//! The threads on which models are loaded and unloaded. A load or an unload that takes long, fails
//! or panics holds up nobody but itself.

use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{SendError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{control::Message, registry::Loaded};
use crate::{
    backend::Halt,
    error::{Error, Result},
    inference::ModelName,
    model::{LoadRequest, Loader, Model},
};

/// What makes models.
pub(super) trait Load: Send + Sync + 'static {
    /// What it makes.
    type Model: Loaded;

    /// Loads one version. Blocks.
    fn load(&self, request: &LoadRequest) -> Result<Arc<Self::Model>>;

    /// Makes what is to take a stand-in's place. Blocks, maybe for minutes, and ends soon after `halt`.
    fn replace(
        &self,
        request: &LoadRequest,
        stand_in: &Self::Model,
        halt: &Halt,
    ) -> Result<Arc<Self::Model>>;
}

impl Load for Loader {
    type Model = Model;

    fn load(&self, request: &LoadRequest) -> Result<Arc<Model>> {
        Self::load(self, request)
    }

    fn replace(&self, request: &LoadRequest, stand_in: &Model, halt: &Halt) -> Result<Arc<Model>> {
        Self::replace(self, request, stand_in, halt)
    }
}

/// How the making of what is to take a stand-in's place ended.
pub(super) struct Replaced<M> {
    pub(super) model: ModelName,
    pub(super) version: u64,
    pub(super) stand_in: Arc<M>,
    pub(super) result: Result<Arc<M>>,
}

/// The threads. They report to the control loop.
pub(super) struct Threads<L: Load> {
    loader: Arc<L>,
    inbox: Sender<Message<L::Model>>,
    load_limit: usize,
    loading_count: usize,
    waiting: VecDeque<LoadRequest>,
    draining_count: usize,
    replacing_count: usize,
    /// To be unloaded as soon as there is a thread for it.
    undrained: Vec<(ModelName, u64, Arc<L::Model>)>,
}

impl<L: Load> Threads<L> {
    /// At most `load_limit` loads run at once.
    pub(super) fn new(loader: Arc<L>, inbox: Sender<Message<L::Model>>, load_limit: usize) -> Self {
        Self {
            loader,
            inbox,
            load_limit,
            loading_count: 0,
            waiting: VecDeque::new(),
            draining_count: 0,
            replacing_count: 0,
            undrained: Vec::new(),
        }
    }

    /// Loads the version as soon as there is room; [`Message::Loaded`] follows.
    pub(super) fn load(&mut self, request: LoadRequest) {
        self.waiting.push_back(request);
        self.fill();
    }

    /// To be called for each [`Message::Loaded`].
    pub(super) fn load_ended(&mut self) {
        self.loading_count -= 1;
        self.fill();
    }

    /// Takes away the loads that have not begun.
    pub(super) fn take_waiting(&mut self) -> VecDeque<LoadRequest> {
        std::mem::take(&mut self.waiting)
    }

    /// Makes what is to take a stand-in's place; [`Message::Replaced`] follows. It takes no place from loads: what
    /// makes it runs one at a time on each device.
    pub(super) fn replace(&mut self, request: LoadRequest, stand_in: Arc<L::Model>, halt: Halt) {
        self.replacing_count += 1;
        let (name, version) = (request.name.clone(), request.version);
        let (loader, inbox) = (Arc::clone(&self.loader), self.inbox.clone());
        let (key, old) = (name.clone(), Arc::clone(&stand_in));
        let tell = move |result| {
            Message::Replaced(Replaced {
                model: key.clone(),
                version,
                stand_in: Arc::clone(&old),
                result,
            })
        };
        let unable = tell.clone();
        let run = move || {
            let result = guarded(|| loader.replace(&request, &stand_in, &halt));
            if let Err(error) = &result {
                let model = &request.name;
                tracing::warn!(%model, version, reason = %error, "nothing takes the stand-in's place");
            }
            send(&inbox, tell(result));
        };
        if let Err(error) = start(format!("build-{name}"), run) {
            let error = Error::unavailable("no_thread", format!("no thread to build on: {error}"));
            let _ = self.inbox.send(unable(Err(error)));
        }
    }

    /// To be called for each [`Message::Replaced`].
    pub(super) fn replace_ended(&mut self) {
        self.replacing_count -= 1;
    }

    /// Unloads the version once its last request has finished; [`Message::Drained`] follows.
    pub(super) fn drain(&mut self, name: &ModelName, version: u64, model: Arc<L::Model>) {
        self.draining_count += 1;
        let worker = (Arc::clone(&model), self.inbox.clone());
        let key = name.clone();
        let unload = move || {
            let (model, inbox) = worker;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| model.unload())) {
                let reason = text(panic.as_ref());
                tracing::warn!(model = %key, version, reason, "unloading panicked");
            }
            drop(model);
            // Nobody listens once the loop has stopped.
            let _ = inbox.send(Message::Drained {
                model: key,
                version,
            });
        };
        if let Err(error) = start(format!("unload-{name}"), unload) {
            tracing::warn!(model = %name, version, %error, "no thread to unload on, trying again");
            self.draining_count -= 1;
            self.undrained.push((name.clone(), version, model));
        }
    }

    /// To be called for each [`Message::Drained`].
    pub(super) fn drain_ended(&mut self) {
        self.draining_count -= 1;
        self.retry();
    }

    /// Tries again what could not be done for want of threads.
    pub(super) fn retry(&mut self) {
        for (name, version, model) in std::mem::take(&mut self.undrained) {
            self.drain(&name, version, model);
        }
    }

    /// After how long to call [`Threads::retry`].
    pub(super) fn retry_after(&self) -> Option<Duration> {
        (!self.undrained.is_empty()).then_some(Duration::from_secs(1))
    }

    /// Loads and unloads that have not ended.
    pub(super) fn busy_count(&self) -> usize {
        self.loading_count
            + self.waiting.len()
            + self.draining_count
            + self.undrained.len()
            + self.replacing_count
    }

    fn fill(&mut self) {
        while self.loading_count < self.load_limit {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            self.loading_count += 1;
            self.start_load(request);
        }
    }

    fn start_load(&self, request: LoadRequest) {
        let (name, version) = (request.name.clone(), request.version);
        let loader = Arc::clone(&self.loader);
        let inbox = self.inbox.clone();
        let run = move || {
            let message = Message::Loaded {
                version,
                result: load(loader.as_ref(), &request),
                model: request.name,
            };
            send(&inbox, message);
        };
        if let Err(error) = start(format!("load-{name}"), run) {
            let error = Error::unavailable("no_thread", format!("no thread to load on: {error}"));
            let _ = self.inbox.send(Message::Loaded {
                model: name,
                version,
                result: Err(error),
            });
        }
    }
}

/// Tells the loop what was loaded. If it has stopped, nobody else will free that.
fn send<M: Loaded>(inbox: &Sender<Message<M>>, message: Message<M>) {
    if let Err(SendError(message)) = inbox.send(message)
        && let Message::Loaded {
            result: Ok(model), ..
        }
        | Message::Replaced(Replaced {
            result: Ok(model), ..
        }) = message
    {
        model.unload();
    }
}

/// Loads, and says so.
fn load<L: Load>(loader: &L, request: &LoadRequest) -> Result<Arc<L::Model>> {
    let began = Instant::now();
    let result = guarded(|| loader.load(request));
    let LoadRequest { name, version, .. } = request;
    match &result {
        Ok(_) => tracing::info!(model = %name, version, duration = ?began.elapsed(), "loaded"),
        Err(error) => tracing::warn!(model = %name, version, reason = %error, "load failed"),
    }
    result
}

/// A panic is a failure.
fn guarded<T>(load: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|panic| {
        let reason = text(panic.as_ref());
        Err(Error::internal(
            "load_panicked",
            format!("loading panicked: {reason}"),
        ))
    })
}

fn start(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(drop)
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}
