//! Whether a request may be run by the thread that brought it, at an idle instance's seat, instead
//! of waking the instance: two changes of thread cost more than a small model does. A pure decision.
//!
//! It must not keep a front door's thread from its other connections, so only what takes a few
//! microseconds is run there; and it must not keep requests from becoming a batch, so where there
//! is a batcher it is done only if waking the instance costs as much as running, or while the
//! instance is mostly idle.

use std::time::Duration;

use crate::{
    instance::Pace,
    model_config::{DynamicBatching, ModelConfig, Scheduling},
};

/// The longest that a front door's thread may be kept.
const LONGEST: Duration = Duration::from_micros(50);
/// About what waking an instance and being woken by it costs.
const HANDOFF: Duration = Duration::from_micros(10);
/// The time of an execution is known for inputs of the usual size.
const MOST_BYTES: usize = 1 << 20;

/// A model's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lending {
    /// Requests wait for others, or for their turn.
    Never,
    /// Requests run one by one anyway.
    IfQuick,
    /// Requests that wait for an instance become a batch.
    IfIdle,
}

impl Lending {
    /// The rule for that model. What a decoupled model does with a request ends elsewhere, and says
    /// nothing of the time that the next one takes.
    pub(super) fn new(model: &ModelConfig) -> Self {
        match &model.scheduling {
            _ if model.decoupled => Self::Never,
            Scheduling::Default => Self::IfQuick,
            Scheduling::Dynamic(DynamicBatching {
                max_queue_delay: Duration::ZERO,
                preserve_ordering: false,
                ..
            }) => Self::IfIdle,
            Scheduling::Dynamic(_) => Self::Never,
        }
    }

    /// Whether it is worth asking for a seat for so many bytes of inputs.
    pub(super) fn fits(self, byte_size: usize) -> bool {
        self != Self::Never && byte_size <= MOST_BYTES
    }

    /// Whether a seat of this pace may be lent.
    pub(super) fn agrees(self, pace: &Pace) -> bool {
        let Some(busy) = pace.busy().filter(|&busy| busy <= LONGEST) else {
            return false;
        };
        match self {
            Self::Never => false,
            Self::IfQuick => true,
            Self::IfIdle => busy <= HANDOFF || pace.gap() >= 2 * busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// The pace of batches that take `busy` and begin every `gap`.
    fn pace(busy: Duration, gap: Duration) -> Pace {
        let start = Instant::now();
        let mut pace = Pace::default();
        for count in 0..100 {
            pace.observe(start + count * gap, busy);
        }
        pace
    }

    #[test]
    fn nothing_is_lent_before_it_is_known_how_long_it_takes() {
        for lending in [Lending::Never, Lending::IfQuick, Lending::IfIdle] {
            assert!(!lending.agrees(&Pace::default()));
        }
    }

    #[test]
    fn only_what_is_quick_and_does_not_become_a_batch_is_lent() {
        let table = [
            // busy, gap, without a batcher, with one
            (5, 6, true, true),
            (10, 11, true, true),
            (11, 12, true, false),
            (30, 40, true, false),
            (30, 90, true, true),
            (50, 900, true, true),
            (51, 900, false, false),
        ];
        for (busy, gap, single, batched) in table {
            let pace = pace(busy * US, gap * US);
            assert_eq!(Lending::IfQuick.agrees(&pace), single, "{busy} of {gap}");
            assert_eq!(Lending::IfIdle.agrees(&pace), batched, "{busy} of {gap}");
            assert!(!Lending::Never.agrees(&pace));
        }
    }

    #[test]
    fn large_requests_are_not_lent_a_seat() {
        assert!(Lending::IfQuick.fits(1 << 20) && !Lending::IfQuick.fits((1 << 20) + 1));
        assert!(!Lending::Never.fits(0));
    }
}
