//! The bytes that requests in flight hold, over all connections and all front doors. Who does not
//! fit is told so at once; nobody waits for room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::error::{Error, Result};

/// Why a request did not fit ([`Error::reason`]).
pub const NO_ROOM: &str = "in_flight_bytes";

/// A number of bytes that is shared out to requests.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// What one request holds of a budget; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    /// `limit` bytes, none of them held.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// A request that holds nothing yet.
    pub fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            budget: Arc::clone(self),
            held: 0,
        }
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, byte_size: usize) -> Result<()> {
        let taken = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(byte_size).filter(|sum| *sum <= self.limit)
            });
        taken.map(drop).map_err(|used| {
            Error::resource_exhausted(
                NO_ROOM,
                format!(
                    "{byte_size} bytes do not fit: requests in flight hold {used} of the {} bytes that \
                     they may hold together; try again later",
                    self.limit
                ),
            )
        })
    }
}

impl Charge {
    /// Holds `byte_size` bytes more.
    ///
    /// # Errors
    /// `ResourceExhausted`, reason [`NO_ROOM`], if they do not fit; what is held stays held.
    pub fn grow(&mut self, byte_size: usize) -> Result<()> {
        if byte_size > 0 {
            self.budget.take(byte_size)?;
            self.held += byte_size;
        }
        Ok(())
    }

    /// One of the same budget that holds nothing.
    pub fn another(&self) -> Self {
        self.budget.charge()
    }

    /// Holds what `other`, of the same budget, holds as well.
    pub fn absorb(&mut self, mut other: Self) {
        self.held += std::mem::take(&mut other.held);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_does_not_fit_is_refused_until_something_is_given_back() {
        let budget = Arc::new(Budget::new(10));
        let (mut first, mut second) = (budget.charge(), budget.charge());
        first.grow(4).unwrap();
        second.grow(6).unwrap();
        let error = first.grow(1).unwrap_err();
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::ResourceExhausted, NO_ROOM)
        );
        assert!(
            error.message().contains("hold 10 of the 10 bytes"),
            "{error}"
        );
        drop(second);
        first.grow(6).unwrap();
        assert!(first.grow(usize::MAX).is_err());
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_absorbed_is_given_back_once() {
        let budget = Arc::new(Budget::new(10));
        let (mut first, mut second) = (budget.charge(), budget.charge());
        first.grow(3).unwrap();
        second.grow(4).unwrap();
        first.absorb(second);
        assert_eq!(budget.used(), 7);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let budget = Arc::new(Budget::new(100));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for size in 0..2000 {
                        let mut charge = budget.charge();
                        drop(charge.grow(size % 60));
                        assert!(budget.used() <= 100);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
