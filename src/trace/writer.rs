//! The thread that writes traces, so that no request waits for a disk.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::{
    files::Files,
    json::{self, Clock},
    record::Record,
};

/// Traces that may wait for the thread; those that find no room are lost.
const WAITING_LIMIT: usize = 1024;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A request's trace is complete.
    Finished(Box<Record>, Plan),
    /// No more traces will come under this setting.
    Closed(u64),
    /// Write what there is, and end.
    Stop,
}

/// Which file a trace belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The setting that it was taken under.
    pub(super) serial: u64,
    /// Traces per file; 0 for no such bound.
    pub(super) per_file: u32,
    /// How many traces there will be under the setting; `None` for no end.
    pub(super) total: Option<u32>,
}

/// Where traces go. Never blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// `None` if there is no file.
    sender: Option<SyncSender<Message>>,
    lost: Arc<AtomicU64>,
}

impl Outbox {
    pub(super) fn send(&self, message: Message) {
        if let Some(sender) = &self.sender
            && sender.try_send(message).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) outbox: Outbox,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// A thread that writes to `files`.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) fn start(files: Files) -> io::Result<Self> {
        let (sender, inbox) = sync_channel(WAITING_LIMIT);
        let outbox = Outbox {
            sender: Some(sender),
            lost: Arc::default(),
        };
        let lost = Arc::clone(&outbox.lost);
        let thread = thread::Builder::new()
            .name("trace-writer".to_owned())
            .spawn(move || run(&inbox, files, &lost))?;
        Ok(Self {
            outbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes what there is and ends the thread. Blocks until that is done; a second call does
    /// nothing.
    pub(super) fn stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(thread), Some(sender)) = (thread, &self.outbox.sender) {
            // Fails only if the thread has ended. A panic of it was reported where it happened.
            let _ = sender.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

fn run(inbox: &Receiver<Message>, mut files: Files, lost: &AtomicU64) {
    let clock = Clock::now();
    let mut text = Vec::new();
    let mut lost_before = 0;
    while let Ok(first) = inbox.recv() {
        for message in std::iter::once(first).chain(inbox.try_iter()) {
            match message {
                Message::Finished(mut record, plan) => {
                    text.clear();
                    // Writing to memory cannot fail.
                    let _ = json::write(&mut record, &clock, &mut text);
                    files.add(&text, plan);
                }
                Message::Closed(serial) => files.close(serial),
                Message::Stop => return files.finish(),
            }
        }
        files.flush();
        let lost_now = lost.load(Ordering::Relaxed);
        if lost_now > lost_before {
            tracing::warn!(
                count = lost_now - lost_before,
                "traces came too fast and were lost"
            );
            lost_before = lost_now;
        }
    }
    files.finish();
}
