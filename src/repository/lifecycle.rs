//! One model's life: the orders that wait for their turn, the load under way, what is loaded, and
//! what is draining. Holds models but neither loads, frees nor shows them: the control loop does,
//! by what is said here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use tokio::sync::oneshot;

use super::{
    Given,
    plan::{Stamp, plan},
    source::Aspired,
};
use crate::{
    backend::Halt,
    error::{Error, Result},
    inference::ModelName,
    model::ModelFolder,
    proto::inference as pb,
};

/// Who asked, if somebody waits for the answer.
pub(super) type Reply = Option<oneshot::Sender<Result<()>>>;

/// Something to do with one model. Orders on one model are done one after the other.
#[derive(Debug)]
pub(super) enum Order {
    /// Make what is loaded what the folder says.
    Refresh,
    /// The same, by name, with overrides, and again if it failed before.
    Load { given: Given, reply: Reply },
    /// Stop serving it.
    Unload { reply: Reply },
}

/// What a folder said when it was last acted on: the versions aspired, or why there are none.
pub(super) type Outcome = Result<BTreeMap<u64, Stamp>, String>;

/// One model's life.
pub(super) struct Lifecycle<M> {
    orders: VecDeque<Order>,
    live: BTreeMap<u64, Incarnation<M>>,
    attempt: Option<Attempt<M>>,
    last: Option<Outcome>,
    present: BTreeSet<u64>,
    /// How many incarnations of a version have not finished their last request.
    draining: BTreeMap<u64, usize>,
}

/// What serves as a version.
struct Incarnation<M> {
    stamp: Stamp,
    model: Arc<M>,
    /// Of what is made to take its place; nobody wants that once this no longer serves.
    replacement: Replacement,
}

/// Halts the making of what would take an incarnation's place when that goes.
#[derive(Default)]
struct Replacement(Halt);

impl Drop for Replacement {
    fn drop(&mut self) {
        self.0.halt();
    }
}

/// A load under way.
struct Attempt<M> {
    aspired: Aspired,
    retire: Vec<u64>,
    /// Versions of which nothing was heard yet.
    awaited: BTreeSet<u64>,
    loaded: BTreeMap<u64, Arc<M>>,
    failed: BTreeMap<u64, String>,
    reply: Reply,
}

/// How a load ended, and what is to be done about it.
pub(super) struct Ending<M> {
    pub(super) result: Result<Swap<M>, Failure>,
    /// To be unloaded, once the table has been changed.
    pub(super) drain: Vec<(u64, Arc<M>)>,
    pub(super) reply: Reply,
}

/// All versions were loaded.
pub(super) struct Swap<M> {
    pub(super) ready: Vec<(u64, Arc<M>)>,
    pub(super) retired: Vec<u64>,
    pub(super) present: BTreeSet<u64>,
    /// What the versions were loaded from.
    pub(super) folder: ModelFolder,
    pub(super) config: pb::ModelConfig,
}

/// A version failed, so none is used.
pub(super) struct Failure {
    /// What the index shall say of each version that was tried.
    pub(super) reasons: BTreeMap<u64, String>,
    /// What who asked is told.
    pub(super) error: Error,
}

impl<M> Lifecycle<M> {
    /// Puts an order at the end of the queue.
    pub(super) fn push(&mut self, order: Order) {
        let twice =
            matches!(order, Order::Refresh) && matches!(self.orders.back(), Some(Order::Refresh));
        if !twice {
            self.orders.push_back(order);
        }
    }

    /// The next order, if the one before is done.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        if self.attempt.is_some() {
            return None;
        }
        self.orders.pop_front()
    }

    /// Takes all orders away.
    pub(super) fn take_orders(&mut self) -> VecDeque<Order> {
        mem::take(&mut self.orders)
    }

    /// Whether something is under way or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.attempt.is_some() || !self.orders.is_empty()
    }

    /// Whether there is nothing to remember of the model.
    pub(super) fn is_over(&self) -> bool {
        !self.is_busy() && self.live.is_empty() && self.draining.is_empty() && self.last.is_none()
    }

    /// What the folder said when it was last acted on.
    pub(super) fn last(&self) -> Option<&Outcome> {
        self.last.as_ref()
    }

    /// The folder says that nothing can be loaded.
    pub(super) fn fault(&mut self, reason: &str) {
        self.last = Some(Err(reason.to_owned()));
    }

    /// Begins a load; returns the versions to load. If there are none, [`Lifecycle::end`] can
    /// follow at once.
    pub(super) fn begin(&mut self, aspired: Aspired, reply: Reply) -> Vec<u64> {
        let live = self.live.iter();
        let live = live.map(|(&version, loaded)| (version, loaded.stamp));
        let steps = plan(&aspired.stamps, &live.collect());
        self.last = Some(Ok(aspired.stamps.clone()));
        self.present.clone_from(&aspired.present);
        self.attempt = Some(Attempt {
            aspired,
            retire: steps.retire,
            awaited: steps.load.iter().copied().collect(),
            loaded: BTreeMap::new(),
            failed: BTreeMap::new(),
            reply,
        });
        steps.load
    }

    /// Takes in how the load of one version ended; whether that was the last one awaited.
    pub(super) fn loaded(&mut self, version: u64, result: Result<Arc<M>>) -> bool {
        let Some(attempt) = &mut self.attempt else {
            return false;
        };
        attempt.awaited.remove(&version);
        match result {
            Ok(model) => {
                attempt.loaded.insert(version, model);
            }
            Err(error) => {
                attempt.failed.insert(version, one_line(error.message()));
            }
        }
        attempt.awaited.is_empty()
    }

    /// Ends the load: either everything that it loaded takes over, or nothing does.
    pub(super) fn end(&mut self, name: &ModelName) -> Option<Ending<M>> {
        let attempt = self.attempt.take_if(|attempt| attempt.awaited.is_empty())?;
        let ending = if attempt.failed.is_empty() {
            self.swap(attempt)
        } else {
            failed(name, attempt)
        };
        self.count_draining(&ending.drain);
        Some(ending)
    }

    /// What halts the making of what is to take the version's place.
    pub(super) fn halt_of(&self, version: u64) -> Option<Halt> {
        let live = self.live.get(&version)?;
        Some(live.replacement.0.clone())
    }

    /// `model` takes the place of `stand_in`, if that still serves.
    pub(super) fn replace(&mut self, version: u64, stand_in: &Arc<M>, model: &Arc<M>) -> bool {
        let live = self.live.get_mut(&version);
        let Some(live) = live.filter(|live| Arc::ptr_eq(&live.model, stand_in)) else {
            return false;
        };
        let old = mem::replace(&mut live.model, Arc::clone(model));
        self.count_draining(&[(version, old)]);
        true
    }

    /// Whether that is what serves as the version.
    pub(super) fn serves(&self, version: u64, model: &Arc<M>) -> bool {
        let live = self.live.get(&version);
        live.is_some_and(|live| Arc::ptr_eq(&live.model, model))
    }

    /// Something is to be unloaded that never served; see [`Lifecycle::drained`].
    pub(super) fn discard(&mut self, version: u64, model: &Arc<M>) {
        self.count_draining(&[(version, Arc::clone(model))]);
    }

    /// Nothing is to serve any more; returns what is to be unloaded.
    pub(super) fn unload(&mut self) -> Vec<(u64, Arc<M>)> {
        self.last = None;
        let live = mem::take(&mut self.live).into_iter();
        let drain: Vec<_> = live
            .map(|(version, loaded)| (version, loaded.model))
            .collect();
        self.count_draining(&drain);
        drain
    }

    /// The folder is gone, and with it every version's place in the index.
    pub(super) fn forget_folder(&mut self) {
        self.present.clear();
    }

    /// An incarnation has finished its last request; whether it was the version's last one.
    pub(super) fn drained(&mut self, version: u64) -> bool {
        let Some(count) = self.draining.get_mut(&version) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.draining.remove(&version);
        }
        last
    }

    /// Whether the version has a folder.
    pub(super) fn is_present(&self, version: u64) -> bool {
        self.present.contains(&version)
    }

    fn swap(&mut self, attempt: Attempt<M>) -> Ending<M> {
        let mut drain = Vec::new();
        let mut ready = Vec::new();
        for &version in &attempt.retire {
            let old = self.live.remove(&version);
            drain.extend(old.map(|old| (version, old.model)));
        }
        for (version, model) in attempt.loaded {
            let Some(&stamp) = attempt.aspired.stamps.get(&version) else {
                continue;
            };
            ready.push((version, Arc::clone(&model)));
            let incarnation = Incarnation {
                stamp,
                model,
                replacement: Replacement::default(),
            };
            let old = self.live.insert(version, incarnation);
            drain.extend(old.map(|old| (version, old.model)));
        }
        Ending {
            result: Ok(Swap {
                ready,
                retired: attempt.retire,
                present: attempt.aspired.present,
                folder: attempt.aspired.folder,
                config: attempt.aspired.config,
            }),
            drain,
            reply: attempt.reply,
        }
    }

    fn count_draining(&mut self, drain: &[(u64, Arc<M>)]) {
        for (version, _) in drain {
            *self.draining.entry(*version).or_default() += 1;
        }
    }
}

impl<M> Default for Lifecycle<M> {
    fn default() -> Self {
        Self {
            orders: VecDeque::new(),
            live: BTreeMap::new(),
            attempt: None,
            last: None,
            present: BTreeSet::new(),
            draining: BTreeMap::new(),
        }
    }
}

/// Engines' messages have line breaks; the index has one line for each version.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

fn failed<M>(name: &ModelName, attempt: Attempt<M>) -> Ending<M> {
    let states: String = attempt
        .failed
        .iter()
        .map(|(version, reason)| format!("version {version} is at UNAVAILABLE state: {reason};"))
        .collect();
    let mut reasons = attempt.failed;
    for &version in attempt.loaded.keys() {
        let reason = "dropped because another version of the model failed to load";
        reasons.insert(version, reason.to_owned());
    }
    Ending {
        result: Err(Failure {
            reasons,
            error: Error::invalid_argument(
                "load_failed",
                format!("load failed for model '{name}': {states}"),
            ),
        }),
        drain: attempt.loaded.into_iter().collect(),
        reply: attempt.reply,
    }
}
