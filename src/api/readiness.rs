//! How far the server is in its own life. Written by whoever runs the server, read on every
//! request.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// The server's stages, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The first models are being loaded.
    #[default]
    Starting,
    /// Requests are welcome.
    Ready,
    /// Requests in flight are finished, new ones refused.
    Exiting,
}

/// The current [`Stage`].
#[derive(Debug, Default)]
pub struct Readiness {
    stage: AtomicU8,
    changed: watch::Sender<()>,
}

impl Readiness {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Exiting,
        }
    }

    /// Returns once the server is exiting.
    pub(super) async fn exiting(&self) {
        // Before the look, so that what happens between is not missed.
        let mut changes = self.changes();
        while self.stage() != Stage::Exiting {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Enters `stage`.
    pub fn set(&self, stage: Stage) {
        let code = match stage {
            Stage::Starting => 0,
            Stage::Ready => 1,
            Stage::Exiting => 2,
        };
        self.stage.store(code, Ordering::Release);
        self.changed.send_replace(());
    }

    /// Is told of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
