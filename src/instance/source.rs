//! Where an instance gets its work.

use crate::inference::Request;

/// Hands out batches to idle instances: late binding, no thread between queue and instance.
pub trait BatchSource: Send + Sync {
    /// Waits for work and takes a batch of it, in order and never empty. `None` once the source is
    /// closed and empty.
    fn next(&self) -> Option<Vec<Request>>;
}
