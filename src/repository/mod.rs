//! The model repository: which models and versions there should be, which there are, and the
//! control loop that turns the one into the other without stopping a request.

mod registry;

use tokio::sync::{mpsc, oneshot};

pub use self::registry::{IndexEntry, Registry, VersionState};
use crate::{
    error::{Error, Result},
    inference::ModelName,
};

/// What a client asks of the control loop.
#[derive(Debug)]
pub(crate) enum Command {
    Load {
        model: ModelName,
        overrides: Overrides,
        reply: oneshot::Sender<Result<()>>,
    },
    Unload {
        model: ModelName,
        unload_dependents: bool,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// What a load call may carry besides the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A model configuration (proto JSON) to use instead of the folder's.
    pub config: Option<String>,
}

/// The handle that front doors hold: asks the control loop to load and unload.
#[derive(Clone, Debug)]
pub struct Repository {
    commands: mpsc::UnboundedSender<Command>,
}

impl Repository {
    /// Loads or reloads `model`; returns when its versions are ready and serving.
    ///
    /// # Errors
    /// `Unavailable` unless the control mode is explicit; `InvalidArgument` with the reason if the
    /// load failed, in which case versions that were serving still are.
    pub async fn load(&self, model: ModelName, overrides: Overrides) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(
            Command::Load {
                model,
                overrides,
                reply,
            },
            answer,
        )
        .await
    }

    /// Begins to unload `model`; returns before its last request has finished.
    ///
    /// # Errors
    /// `Unavailable` unless the control mode is explicit.
    pub async fn unload(&self, model: ModelName, unload_dependents: bool) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(
            Command::Unload {
                model,
                unload_dependents,
                reply,
            },
            answer,
        )
        .await
    }

    /// A handle without a control loop behind it: every call answers that the server is exiting.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self {
            commands: mpsc::unbounded_channel().0,
        }
    }

    async fn ask(&self, command: Command, answer: oneshot::Receiver<Result<()>>) -> Result<()> {
        let gone = || Error::unavailable("exiting", "Server exiting");
        self.commands.send(command).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
