//! Values that are read from files, and read again when the files change: keys, policies,
//! certificates. Looks at the files' own times, which every file system and every way of mounting
//! secrets keeps; decides nothing about what is in them.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

/// A value and the files that it is read from.
pub struct Followed<T> {
    /// What it is, for the log.
    what: String,
    files: Vec<PathBuf>,
    read: Box<Read<T>>,
    value: ArcSwap<T>,
    stamps: Mutex<Vec<Option<Stamp>>>,
}

type Read<T> = dyn Fn() -> Result<T, Box<dyn Error + Send + Sync>> + Send + Sync;

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    byte_size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file. Links are followed, for secrets are often mounted so.
    fn of(file: &PathBuf) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            byte_size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl<T> Followed<T> {
    /// Reads the value for the first time. `what` names it in the log.
    ///
    /// # Errors
    /// What `read` says.
    pub fn new<E: Error + Send + Sync + 'static>(
        what: impl Into<String>,
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before the files are read: what changes meanwhile is seen at the next look.
        let stamps = files.iter().map(Stamp::of).collect();
        let value = ArcSwap::from_pointee(read()?);
        Ok(Self {
            what: what.into(),
            files,
            read: Box::new(move || read().map_err(Into::into)),
            value,
            stamps: Mutex::new(stamps),
        })
    }

    /// The value as it was last read.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.value.load()
    }
}

/// Something that follows its files.
pub trait Follow: Send + Sync {
    /// Reads the files again if they changed. What was read before stays if they cannot be read.
    fn look(&self);
}

impl<T: Send + Sync> Follow for Followed<T> {
    fn look(&self) {
        let mut before = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps: Vec<_> = self.files.iter().map(Stamp::of).collect();
        if *before == stamps {
            return;
        }
        *before = stamps;
        let what = &self.what;
        match (self.read)() {
            Ok(value) => {
                self.value.store(Arc::new(value));
                tracing::info!(what, "read again after a change");
            }
            Err(error) => {
                tracing::error!(what, %error, "cannot be read after a change: what was read before stays in force");
            }
        }
    }
}

/// A thread that looks at followed files again and again, until it is dropped.
#[derive(Debug)]
pub struct Follower {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Looks every `interval`. Starts no thread if there is nothing to follow.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(interval: Duration, followed: Vec<Arc<dyn Follow>>) -> io::Result<Self> {
        if followed.is_empty() {
            return Ok(Self {
                stop: None,
                thread: None,
            });
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("follow-files".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                    for one in &followed {
                        one.look();
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(file: PathBuf) -> Result<Followed<u32>, std::num::ParseIntError> {
        Followed::new("number", vec![file.clone()], move || {
            fs::read_to_string(&file).unwrap_or_default().parse()
        })
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        fs::write(&file, "1").unwrap();
        let followed = number(file.clone()).unwrap();
        followed.look();
        assert_eq!(**followed.load(), 1);
        fs::write(&file, "22").unwrap();
        followed.look();
        assert_eq!(**followed.load(), 22);
        fs::write(&file, "broken").unwrap();
        followed.look();
        assert_eq!(**followed.load(), 22);
        fs::remove_file(&file).unwrap();
        followed.look();
        assert_eq!(**followed.load(), 22);
        fs::write(&file, "333").unwrap();
        followed.look();
        assert_eq!(**followed.load(), 333);
    }

    #[test]
    fn what_cannot_be_read_at_first_is_an_error() {
        assert!(number("/nowhere/at/all".into()).is_err());
    }

    #[test]
    fn a_follower_looks_until_it_is_dropped() {
        struct Looked(mpsc::Sender<()>);
        impl Follow for Looked {
            fn look(&self) {
                let _ = self.0.send(());
            }
        }
        let (sender, looks) = mpsc::channel();
        let follower = Follower::start(Duration::ZERO, vec![Arc::new(Looked(sender))]).unwrap();
        looks.recv().unwrap();
        drop(follower);
        // Ends, because nobody is left to send.
        looks.iter().for_each(drop);
    }
}
