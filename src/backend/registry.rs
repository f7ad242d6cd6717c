//! Backends by name.

use std::{collections::BTreeMap, sync::Arc};

use super::{Backend, BackendError};

/// The backends that this server has.
#[derive(Clone, Default)]
pub struct BackendRegistry {
    backends: BTreeMap<&'static str, Arc<dyn Backend>>,
}

impl BackendRegistry {
    /// Adds a backend under its own name.
    #[must_use]
    pub fn with(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backends.insert(backend.name(), backend);
        self
    }

    /// Every backend, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        self.backends.values()
    }

    /// The backend of that name.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] with the names that exist.
    pub fn backend(&self, name: &str) -> Result<&Arc<dyn Backend>, BackendError> {
        self.backends.get(name).ok_or_else(|| {
            let known: Vec<_> = self.backends.keys().copied().collect();
            BackendError::Unavailable(format!(
                "unable to find backend '{name}', this server has: {}",
                known.join(", ")
            ))
        })
    }
}
