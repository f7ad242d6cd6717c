//! Stream capture and what comes of it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{code::Code, operation::Operation, table::Handle};

/// A capture under way. What its streams are given is written down in the order in which it was
/// given, which is an order that every dependency allows.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The stream on which it was begun.
    pub(crate) origin: Handle,
    operations: Mutex<Vec<Operation>>,
    /// Streams that came in and whose work no other stream waits for yet.
    unjoined: Mutex<HashSet<Handle>>,
}

/// What a capture yields; also what is instantiated, for the fake has nothing to compile.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) device: usize,
    pub(crate) operations: Arc<[Operation]>,
    /// Device memory that it takes: what is instantiated takes some.
    pub(crate) charged_byte_size: u64,
}

/// What an executable graph takes of its device's memory, in bytes: some, as with a driver.
pub(crate) const EXECUTABLE_BYTE_SIZE: u64 = 64 << 10;

impl Capture {
    pub(crate) fn new(origin: Handle) -> Self {
        Self {
            origin,
            operations: Mutex::default(),
            unjoined: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, operation: Operation) {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(operation);
    }

    /// `stream` waits for an event of this capture, and is captured from now on.
    pub(crate) fn fork(&self, stream: Handle) {
        self.unjoined().insert(stream);
    }

    /// Another stream of this capture waits for an event of `stream`.
    pub(crate) fn join(&self, stream: Handle) {
        self.unjoined().remove(&stream);
    }

    pub(crate) fn finish(&self, device: usize) -> Result<Graph, Code> {
        if !self.unjoined().is_empty() {
            return Err(Code::STREAM_CAPTURE_UNJOINED);
        }
        let mut operations = self
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Graph {
            device,
            operations: operations.drain(..).collect(),
            charged_byte_size: 0,
        })
    }

    fn unjoined(&self) -> MutexGuard<'_, HashSet<Handle>> {
        self.unjoined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
