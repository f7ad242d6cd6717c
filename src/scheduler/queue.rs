//! The queue's data: priority levels, their policies, and what each waiting request needs to be
//! decided about. Not shared, not locked, and it never looks at a clock.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Config, DropReason, policy::Candidate};
use crate::{
    error::Error,
    inference::{Order, Request},
    model_config::{QueuePolicy, Scheduling, TimeoutAction},
};

/// Requests that wait too long are looked for at most this often, for that reads the whole queue.
const GRAIN: Duration = Duration::from_millis(1);

/// A model's waiting requests.
#[derive(Debug)]
pub(super) struct Queue {
    /// Highest priority first; exactly one if the model has no levels.
    levels: Vec<Level>,
    default_level: usize,
    max_requests: usize,
    max_byte_size: usize,
    count: usize,
    byte_size: usize,
    /// Hold everything back until this many requests wait.
    hold_until: usize,
    /// Set if answers must leave in the order of the requests.
    order: Option<Arc<Order>>,
    /// When the timer was asked to wake the scheduler.
    wake_at: Option<Instant>,
}

#[derive(Debug)]
struct Level {
    /// `None` if the model sets no policy: then nothing expires.
    policy: Option<QueuePolicy>,
    active: VecDeque<Entry>,
    /// Expired under `DELAY`: served after all that have not.
    delayed: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    request: Request,
    byte_size: usize,
    expires: Option<Instant>,
}

/// A request that is dropped instead of run.
#[derive(Debug)]
pub(super) struct Dropped {
    pub(super) request: Request,
    pub(super) reason: DropReason,
}

/// A request that found the queue full.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) request: Request,
    pub(super) full: Full,
}

/// Which bound a queue has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Requests(usize),
    Bytes { wanted: usize, limit: usize },
}

impl Queue {
    pub(super) fn new(config: &Config, scheduling: &Scheduling) -> Self {
        let (levels, default_level) = match scheduling {
            Scheduling::Default => (vec![Level::new(None)], 0),
            Scheduling::Dynamic(batching) => {
                let levels = (1..=batching.priority_levels.max(1))
                    .map(|level| {
                        let own = batching.priority_queue_policy.get(&level);
                        Level::new(own.or(batching.default_queue_policy.as_ref()).cloned())
                    })
                    .collect();
                let default = batching.default_priority_level.saturating_sub(1);
                (levels, usize::try_from(default).unwrap_or(0))
            }
        };
        Self {
            levels,
            default_level,
            max_requests: config.max_requests,
            max_byte_size: config.max_byte_size,
            count: 0,
            byte_size: 0,
            hold_until: config.delay_until_requests,
            order: match scheduling {
                Scheduling::Dynamic(batching) if batching.preserve_ordering => Some(Arc::default()),
                _ => None,
            },
            wake_at: None,
        }
    }

    /// Requests waiting.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether everything is held back until more requests wait.
    pub(super) fn is_held(&self) -> bool {
        self.count < self.hold_until
    }

    pub(super) fn is_full_for(&self, request: &Request) -> bool {
        self.fullness(self.level_of(request.priority), request.byte_size())
            .is_some()
    }

    /// Puts a request at the end of its level; gives it back if there is no room. Returns when the
    /// scheduler has to be woken for it, if that is earlier than it will be anyway.
    pub(super) fn push(&mut self, mut request: Request) -> Result<Option<Instant>, Box<Refused>> {
        let byte_size = request.byte_size();
        let index = self.level_of(request.priority);
        if let Some(full) = self.fullness(index, byte_size) {
            return Err(Box::new(Refused { request, full }));
        }
        let Some(level) = self.levels.get_mut(index) else {
            let full = Full::Requests(0);
            return Err(Box::new(Refused { request, full }));
        };
        if let Some(order) = &self.order {
            request.respond.keep_order(order);
        }
        let expires = level
            .timeout(request.timeout)
            .and_then(|t| request.queued.checked_add(t));
        let wake = expires
            .map(|expires| expires.max(request.queued + GRAIN))
            .filter(|&at| self.wake_at.is_none_or(|set| at < set));
        self.wake_at = wake.or(self.wake_at);
        level.active.push_back(Entry {
            request,
            byte_size,
            expires,
        });
        self.count += 1;
        self.byte_size += byte_size;
        Ok(wake)
    }

    /// Takes cancelled and expired requests out of the front of the queue, as far as `rows` rows of
    /// live ones reach.
    pub(super) fn sweep(&mut self, now: Instant, rows: usize, dropped: &mut Vec<Dropped>) {
        let before = dropped.len();
        let mut live = 0;
        for level in &mut self.levels {
            if live > rows {
                break;
            }
            level.sweep(now, rows, &mut live, dropped);
        }
        for gone in dropped.iter().skip(before) {
            self.count -= 1;
            self.byte_size -= gone.request.byte_size();
        }
    }

    /// When the scheduler has to be woken next, after a sweep. Reads the whole queue.
    pub(super) fn next_wake(&mut self, now: Instant) -> Option<Instant> {
        let expires = self.entries().filter_map(|entry| entry.expires).min();
        self.wake_at = expires.map(|expires| expires.max(now + GRAIN));
        self.wake_at
    }

    /// The waiting requests in order.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let first = self.entries().next();
        self.entries().map(move |entry| Candidate {
            batch_size: entry.request.batch_size,
            fits_first: first.is_some_and(|first| fits(&first.request, &entry.request)),
            queued: entry.request.queued,
            expires: entry.expires,
        })
    }

    /// Takes the first `count` requests.
    pub(super) fn take(&mut self, count: usize) -> Vec<Request> {
        self.hold_until = 0;
        let mut batch = Vec::with_capacity(count.min(self.count));
        for level in &mut self.levels {
            for lane in [&mut level.active, &mut level.delayed] {
                while batch.len() < count {
                    let Some(entry) = lane.pop_front() else { break };
                    self.count -= 1;
                    self.byte_size -= entry.byte_size;
                    batch.push(entry.request);
                }
            }
        }
        batch
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.levels
            .iter()
            .flat_map(|level| level.active.iter().chain(&level.delayed))
    }

    /// Level 1 is the highest; 0 and anything too large mean the default.
    fn level_of(&self, priority: u64) -> usize {
        usize::try_from(priority)
            .ok()
            .and_then(|priority| priority.checked_sub(1))
            .filter(|&index| index < self.levels.len())
            .unwrap_or(self.default_level)
    }

    fn fullness(&self, level: usize, byte_size: usize) -> Option<Full> {
        let level = self.levels.get(level)?;
        if let Some(limit) = level
            .policy
            .as_ref()
            .and_then(|policy| policy.max_queue_size)
            && level.active.len() + level.delayed.len() >= limit
        {
            return Some(Full::Requests(limit));
        }
        if self.count >= self.max_requests {
            return Some(Full::Requests(self.max_requests));
        }
        let wanted = self.byte_size.saturating_add(byte_size);
        // A request that is larger than the bound by itself may still run alone.
        (wanted > self.max_byte_size && self.count > 0).then_some(Full::Bytes {
            wanted,
            limit: self.max_byte_size,
        })
    }
}

impl Level {
    fn new(policy: Option<QueuePolicy>) -> Self {
        Self {
            policy,
            active: VecDeque::new(),
            delayed: VecDeque::new(),
        }
    }

    /// How long a request that asks for `asked` may wait. Triton's rule: its own timeout only ever
    /// shortens the policy's, and only where the policy allows it. Many clients give one that is not
    /// meant in microseconds, and never notice, for nobody reads it.
    fn timeout(&self, asked: Option<Duration>) -> Option<Duration> {
        let policy = self.policy.as_ref()?;
        let default = policy.default_timeout?;
        match asked {
            Some(asked) if policy.allow_timeout_override => Some(asked.min(default)),
            _ => Some(default),
        }
    }

    fn sweep(&mut self, now: Instant, rows: usize, live: &mut usize, dropped: &mut Vec<Dropped>) {
        let Self {
            policy,
            active,
            delayed,
        } = self;
        let delays = policy
            .as_ref()
            .is_some_and(|policy| policy.timeout_action == TimeoutAction::Delay);
        sift(active, now, rows, live, |mut entry, reason| {
            if delays && reason != DropReason::Cancelled {
                entry.expires = None;
                delayed.push_back(entry);
            } else {
                let request = entry.request;
                dropped.push(Dropped { request, reason });
            }
        });
        sift(delayed, now, rows, live, |entry, reason| {
            let request = entry.request;
            dropped.push(Dropped { request, reason });
        });
    }
}

impl Entry {
    /// Why it should not be run, if it should not.
    fn fate(&self, now: Instant) -> Option<DropReason> {
        if self.request.respond.is_cancelled() {
            return Some(DropReason::Cancelled);
        }
        self.expires.filter(|&expires| expires <= now)?;
        let waited = now.saturating_duration_since(self.request.queued);
        Some(DropReason::Expired(waited))
    }
}

/// Takes what is gone out of a lane, as far as `rows` rows of live requests reach. The rest keeps its
/// order; what lies behind the last that is gone is not moved, and all else at most twice.
fn sift(
    lane: &mut VecDeque<Entry>,
    now: Instant,
    rows: usize,
    live: &mut usize,
    mut gone: impl FnMut(Entry, DropReason),
) {
    let mut kept = VecDeque::new();
    let mut index = 0;
    while *live <= rows
        && let Some(entry) = lane.get(index)
    {
        let Some(reason) = entry.fate(now) else {
            *live = live.saturating_add(entry.request.batch_size.max(1));
            index += 1;
            continue;
        };
        kept.extend(lane.drain(..index));
        index = 0;
        if let Some(entry) = lane.pop_front() {
            gone(entry, reason);
        }
    }
    for entry in kept.into_iter().rev() {
        lane.push_front(entry);
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        let message = match full {
            Full::Requests(limit) => {
                format!("Exceeds maximum queue size: {limit} requests are waiting already")
            }
            Full::Bytes { wanted, limit } => format!(
                "Exceeds maximum queue size: {wanted} bytes of inputs would wait, the limit is {limit}"
            ),
        };
        Self::resource_exhausted("queue_full", message)
    }
}

/// Whether two requests can share a batch: the same inputs, equal in shape but for the batch
/// dimension.
fn fits(a: &Request, b: &Request) -> bool {
    a.inputs.len() == b.inputs.len()
        && a.inputs
            .iter()
            .zip(&b.inputs)
            .all(|(a, b)| a.index == b.index && a.tensor.shape.get(1..) == b.tensor.shape.get(1..))
}
