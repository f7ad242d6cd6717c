//! The model repository: which models and versions there should be, which there are, and the
//! control loop that turns the one into the other without stopping a request.

mod config;
mod control;
mod fingerprint;
mod initial;
mod lifecycle;
mod orders;
mod plan;
mod registry;
mod settle;
mod source;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod threads;
mod upload;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{oneshot, watch as flag};

use self::{
    config::DURATION_LIMIT,
    control::{Control, Message},
    initial::Finished,
    source::Source,
    threads::Load,
    upload::UploadError,
    watch::{Heard, Watch},
};
pub use self::{
    config::{Config, ControlMode},
    initial::LoadFailure,
    registry::{IndexEntry, Loaded, Registry, UNLOADED, VersionState},
    survey::{Surveyed, survey},
};
use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::{Loader, Model, ModelFolder},
};

/// What a client asks of the control loop.
#[derive(Debug)]
enum Command {
    Load {
        model: ModelName,
        given: Given,
        reply: oneshot::Sender<Result<()>>,
    },
    Unload {
        model: ModelName,
        reply: oneshot::Sender<Result<()>>,
    },
    Look {
        reply: oneshot::Sender<Result<()>>,
    },
}

/// What a load call may carry besides the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A model configuration (proto JSON) to use instead of the folder's.
    pub config: Option<String>,
    /// Files to load instead of the folder's; they need a configuration with them.
    pub files: Vec<OverrideFile>,
}

/// A file that comes with a load call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideFile {
    /// Relative to the model's folder: `<version>/<name>`.
    pub path: String,
    /// What is in it.
    pub contents: Bytes,
}

/// [`Overrides`] whose files are written.
#[derive(Clone, Debug, Default)]
struct Given {
    config: Option<String>,
    folder: Option<ModelFolder>,
}

/// The handle that front doors hold: asks the control loop to load and unload. When the last clone
/// is dropped everything is unloaded.
pub struct Repository<M = Model> {
    control: Arc<ControlThread<M>>,
}

struct ControlThread<M> {
    mode: ControlMode,
    inbox: mpsc::Sender<Message<M>>,
    finished: flag::Receiver<Finished>,
    thread: Mutex<Option<JoinHandle<usize>>>,
}

impl Repository {
    /// Starts to load what the configuration says, and to follow changes if it says so.
    ///
    /// # Errors
    /// `InvalidArgument` for a wrong configuration, `NotFound` for a repository that is no folder.
    pub fn start(config: &Config, registry: Arc<Registry>, loader: Arc<Loader>) -> Result<Self> {
        Self::start_with(config, registry, loader)
    }
}

impl<M: Loaded> Repository<M> {
    /// Loads or reloads `model`; returns when its versions are ready and serving.
    ///
    /// # Errors
    /// `Unavailable` unless the control mode is explicit; `InvalidArgument` with the reason if the
    /// load failed, in which case versions that were serving still are.
    pub async fn load(&self, model: ModelName, overrides: Overrides) -> Result<()> {
        self.refuse_unless_explicit()?;
        let given = given(overrides).await;
        let given = given.map_err(|error| not_taken(&model, &error))?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Load {
            model,
            given,
            reply,
        };
        self.ask(command, answer).await
    }

    /// Begins to unload `model`; returns before its last request has finished. No model depends on
    /// another here, so there are never dependents to unload with it.
    ///
    /// # Errors
    /// `Unavailable` unless the control mode is explicit.
    pub async fn unload(&self, model: ModelName, _unload_dependents: bool) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Unload { model, reply }, answer).await
    }

    /// Has the index name what is in the folders now. In the other modes it does so anyway.
    ///
    /// # Errors
    /// `Unavailable` if the control loop ended.
    pub async fn look(&self) -> Result<()> {
        if self.control.mode != ControlMode::Explicit {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Look { reply }, answer).await
    }

    /// Whether the control loop runs. It has ended after [`Repository::stop`], and otherwise only if
    /// it panicked.
    pub fn is_running(&self) -> bool {
        let thread = lock(&self.control.thread);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until every model to load at start is ready or has failed; returns those that failed.
    /// Models that are just being copied into a repository are not waited for.
    ///
    /// # Errors
    /// `Unavailable` if the control loop ended before.
    pub async fn initial_load_finished(&self) -> Result<Vec<LoadFailure>> {
        let mut finished = self.control.finished.clone();
        let failures = finished.wait_for(Option::is_some).await;
        let failures = failures.map_err(|_| exiting())?;
        Ok(failures.clone().unwrap_or_default())
    }

    /// Unloads everything and ends the control loop. Blocks until that is done, at most for
    /// `timeout` and what the control loop is just doing. A second call does nothing.
    ///
    /// # Errors
    /// `DeadlineExceeded` if models were still in use, or being loaded, at the end.
    pub fn stop(&self, timeout: Duration) -> Result<()> {
        let thread = lock(&self.control.thread).take();
        let Some(thread) = thread else {
            return Ok(());
        };
        self.control.stop(timeout);
        let left = thread
            .join()
            .map_err(|_| Error::internal("control_panicked", "the control loop panicked"))?;
        if left == 0 {
            return Ok(());
        }
        Err(Error::deadline_exceeded(
            "stop_timeout",
            format!("{left} loads and unloads of models had not ended when time was up"),
        ))
    }

    fn start_with<L: Load<Model = M>>(
        config: &Config,
        registry: Arc<Registry<M>>,
        loader: Arc<L>,
    ) -> Result<Self> {
        let wanted = config.check()?;
        let source = Source::new(config)?;
        let (inbox, messages) = mpsc::channel();
        let (finish, finished) = flag::channel(None);
        // Before the first look at the folders: what changes after it is heard.
        let watch = match config.control_mode {
            ControlMode::Poll => watch(&source, inbox.clone()),
            ControlMode::None | ControlMode::Explicit => None,
        };
        let control = Control::new(config, source, registry, loader, inbox.clone(), finish);
        let thread = thread::Builder::new()
            .name("repository".to_owned())
            .spawn(move || control.run(&messages, &wanted, watch))
            .map_err(|error| Error::internal("no_thread", format!("no thread: {error}")))?;
        Ok(Self {
            control: Arc::new(ControlThread {
                mode: config.control_mode,
                inbox,
                finished,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// A handle without a control loop behind it, in a mode in which nothing can be asked of it.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self {
            control: Arc::new(ControlThread {
                mode: ControlMode::None,
                inbox: mpsc::channel().0,
                finished: flag::channel(None).1,
                thread: Mutex::new(None),
            }),
        }
    }

    async fn ask(&self, command: Command, answer: oneshot::Receiver<Result<()>>) -> Result<()> {
        self.refuse_unless_explicit()?;
        let message = Message::Command(command);
        self.control.inbox.send(message).map_err(|_| exiting())?;
        answer.await.map_err(|_| exiting())?
    }

    fn refuse_unless_explicit(&self) -> Result<()> {
        if self.control.mode == ControlMode::Explicit {
            return Ok(());
        }
        Err(Error::unavailable(
            "control_mode",
            "explicit model load / unload is not allowed if polling is enabled",
        ))
    }
}

impl<M> ControlThread<M> {
    fn stop(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout.min(DURATION_LIMIT);
        // A loop that ended needs no stopping.
        let _ = self.inbox.send(Message::Stop { deadline });
    }
}

impl<M> Drop for ControlThread<M> {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl<M> Clone for Repository<M> {
    fn clone(&self) -> Self {
        Self {
            control: Arc::clone(&self.control),
        }
    }
}

impl<M> fmt::Debug for Repository<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("mode", &self.control.mode)
            .finish_non_exhaustive()
    }
}

fn watch<M: Loaded>(source: &Source, inbox: mpsc::Sender<Message<M>>) -> Option<Watch> {
    let tell = move |heard: Heard| {
        // Nobody listens once the loop has stopped.
        let _ = inbox.send(Message::Heard(heard));
    };
    Watch::start(source.repositories(), tell)
        .inspect_err(|error| {
            tracing::warn!(%error, "no file-system notifications, changes are found by polling");
        })
        .ok()
}

/// Writes what files there are, away from the threads that answer requests.
async fn given(overrides: Overrides) -> Result<Given, UploadError> {
    let Overrides { config, files } = overrides;
    if files.is_empty() {
        return Ok(Given {
            config,
            folder: None,
        });
    }
    if config.is_none() {
        let why = "Load parameter 'config' must be specified for model file override";
        return Err(UploadError::Refused(why.to_owned()));
    }
    let written = tokio::task::spawn_blocking(move || upload::write(&files)).await;
    let broken_off = |_| UploadError::Failed("writing the files was broken off".to_owned());
    let folder = written.map_err(broken_off)??;
    Ok(Given {
        config,
        folder: Some(folder),
    })
}

/// A load that did not come as far as loading.
fn load_failed(model: &ModelName, reason: &str) -> Error {
    Error::invalid_argument("load_failed", not_polled(model, reason))
}

/// A load whose files were not taken.
fn not_taken(model: &ModelName, error: &UploadError) -> Error {
    match error {
        UploadError::Refused(reason) => load_failed(model, reason),
        UploadError::Failed(reason) => Error::internal("load_failed", not_polled(model, reason)),
    }
}

fn not_polled(model: &ModelName, reason: &str) -> String {
    format!("failed to load '{model}', failed to poll from model repository: {reason}")
}

fn exiting() -> Error {
    Error::unavailable("exiting", "Server exiting")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
