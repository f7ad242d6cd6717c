//! What the table of regions holds of each: the region itself until it is unregistered, and then only
//! a way to find it while requests use it.

use std::sync::{Arc, Weak};

use super::{Origin, Region, RegionKind};

/// One registered region, or one that is leaving.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where its memory is.
    pub(super) origin: Origin,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    Registered(Arc<dyn Region>),
    /// Unregistered, and held by requests if at all.
    Leaving(Weak<dyn Region>),
}

impl Entry {
    /// A region that is registered.
    pub(super) fn new(origin: Origin, region: Arc<dyn Region>) -> Self {
        Self {
            origin,
            held: Held::Registered(region),
        }
    }

    /// The region, while there is one.
    pub(super) fn region(&self) -> Option<Arc<dyn Region>> {
        match &self.held {
            Held::Registered(region) => Some(Arc::clone(region)),
            Held::Leaving(region) => region.upgrade(),
        }
    }

    /// Whether nobody has unregistered it.
    pub(super) fn is_registered(&self) -> bool {
        matches!(self.held, Held::Registered(_))
    }

    /// Leaves the region to the requests that use it; false if none does.
    pub(super) fn unregister(&mut self) -> bool {
        if let Held::Registered(region) = &self.held {
            // What is held here ends with this assignment.
            self.held = Held::Leaving(Arc::downgrade(region));
        }
        self.is_there()
    }

    /// Whether there is still a region.
    pub(super) fn is_there(&self) -> bool {
        match &self.held {
            Held::Registered(_) => true,
            Held::Leaving(region) => region.strong_count() > 0,
        }
    }

    /// Which kind it is of.
    pub(super) fn kind(&self) -> RegionKind {
        match self.origin {
            Origin::System { .. } => RegionKind::System,
            Origin::Cuda { .. } => RegionKind::Cuda,
        }
    }
}
