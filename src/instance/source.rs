//! Where an instance gets its work.

use super::Seat;
use crate::inference::Request;

/// Hands out batches to idle instances: late binding, no thread between queue and instance.
pub trait BatchSource: Send + Sync {
    /// Waits for work and takes a batch of it, in order and never empty. `None` once the source is
    /// closed and empty. While it waits the source may run requests at `seat` itself; what comes
    /// back is a seat of the same model.
    fn next(&self, seat: Seat) -> Option<(Vec<Request>, Seat)>;

    /// Takes back what an instance was handed and cannot run, for others to take.
    fn put_back(&self, requests: Vec<Request>);
}
