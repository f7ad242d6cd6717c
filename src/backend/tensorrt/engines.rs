//! Which engines are on which devices: instances of a model on one device share one.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tensorrt_sys::Library;

use super::{
    engine::{Engine, Place},
    runtime::EngineOptions,
};
use crate::backend::BackendError;

/// Engines by what they were read from. They live as long as somebody uses them.
#[derive(Debug, Default)]
pub(super) struct Engines {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

/// Held by who reads an engine: others that want the same wait, others that want another do not.
type Slot = Mutex<Weak<Engine>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u32,
    file: PathBuf,
    /// Inode, length, and when it was changed: another file under the same name is another engine.
    identity: [u64; 4],
    options: EngineOptions,
}

impl Engines {
    /// The engine of that file on that device, read if nobody uses it there.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub(super) fn engine(
        &self,
        library: &Arc<Library>,
        place: &Place,
        file: &Path,
        options: &EngineOptions,
    ) -> Result<Arc<Engine>, BackendError> {
        let slot = self.slot(Key {
            device: place.context.ordinal(),
            file: file.to_owned(),
            identity: identity(file)?,
            options: options.clone(),
        });
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = slot.upgrade() {
            return Ok(engine);
        }
        let engine = Arc::new(Engine::read(library, place, file, options)?);
        *slot = Arc::downgrade(&engine);
        Ok(engine)
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses and nobody reads go.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot
                    .try_lock()
                    .is_ok_and(|engine| engine.strong_count() > 0)
        });
        Arc::clone(slots.entry(key).or_default())
    }
}

fn identity(file: &Path) -> Result<[u64; 4], BackendError> {
    let unreadable = |error| BackendError::InvalidModel(format!("{}: {error}", file.display()));
    let metadata = fs::metadata(file).map_err(unreadable)?;
    let seconds = metadata.mtime().cast_unsigned();
    let nanoseconds = metadata.mtime_nsec().cast_unsigned();
    Ok([metadata.ino(), metadata.len(), seconds, nanoseconds])
}
