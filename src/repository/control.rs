//! The control loop: one thread that owns every model's life. It waits for commands, for loads and
//! unloads to end and for folders to change, and is the registry's only writer. The data plane
//! never waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    Command, Config, ControlMode,
    config::Wanted,
    exiting,
    fingerprint::Fingerprint,
    initial::{Finished, Initial},
    lifecycle::{Lifecycle, Order},
    orders::answer,
    registry::Registry,
    settle::Settle,
    source::{Aspired, Found, Listing, Source},
    threads::{Load, Replaced, Threads},
    watch::{Heard, Watch},
};
use crate::{error::Result, inference::ModelName};

/// What the loop is told.
pub(super) enum Message<M> {
    /// Somebody asks.
    Command(Command),
    /// A load ended.
    Loaded {
        model: ModelName,
        version: u64,
        result: Result<Arc<M>>,
    },
    /// What was to take a stand-in's place was made, or not.
    Replaced(Replaced<M>),
    /// An unload ended.
    Drained { model: ModelName, version: u64 },
    /// Something happened in a repository.
    Heard(Heard),
    /// Unload everything, and end by then.
    Stop { deadline: Instant },
}

/// The loop's state.
pub(super) struct Control<L: Load> {
    mode: ControlMode,
    poll_interval: Duration,
    settle_window: Duration,
    pub(super) config_byte_limit: usize,
    pub(super) source: Source,
    pub(super) registry: Arc<Registry<L::Model>>,
    pub(super) threads: Threads<L>,
    pub(super) lives: BTreeMap<ModelName, Lifecycle<L::Model>>,
    /// In mode poll only.
    pub(super) settle: Option<Settle>,
    pub(super) initial: Initial,
    /// Overrides given so far.
    pub(super) override_count: u64,
    next_scan: Option<Instant>,
    /// What was warned of already.
    warned: BTreeSet<String>,
    stop_by: Option<Instant>,
}

/// Most messages taken in before the clock is looked at again.
const BATCH: usize = 1024;
/// Most warnings remembered, so as not to repeat them.
const WARNING_LIMIT: usize = 10_000;

impl<L: Load> Control<L> {
    /// A loop that has not begun. `inbox` leads to it.
    pub(super) fn new(
        config: &Config,
        source: Source,
        registry: Arc<Registry<L::Model>>,
        loader: Arc<L>,
        inbox: Sender<Message<L::Model>>,
        finished: watch::Sender<Finished>,
    ) -> Self {
        let polls = config.control_mode == ControlMode::Poll;
        Self {
            mode: config.control_mode,
            poll_interval: config.poll_interval,
            settle_window: config.settle,
            config_byte_limit: config.config_byte_limit,
            source,
            registry,
            threads: Threads::new(loader, inbox, config.load_thread_count),
            lives: BTreeMap::new(),
            settle: polls.then(|| Settle::new(config.settle)),
            initial: Initial::new(finished),
            override_count: 0,
            next_scan: None,
            warned: BTreeSet::new(),
            stop_by: None,
        }
    }

    /// Runs until stopped; returns how many loads and unloads had not ended by then. `watch` is
    /// kept as long.
    pub(super) fn run(
        mut self,
        inbox: &Receiver<Message<L::Model>>,
        wanted: &Wanted,
        watch: Option<Watch>,
    ) -> usize {
        self.begin(wanted);
        while !self.is_over(Instant::now()) {
            match self.wait(inbox) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.threads.retry(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // All that is known comes before any decision by the clock.
            inbox.try_iter().take(BATCH).for_each(|it| self.take(it));
            self.tick(Instant::now());
        }
        drop(watch);
        self.threads.busy_count()
    }

    /// Whether the model's folder changed and has not come to rest.
    pub(super) fn is_unsettled(&self, name: &ModelName) -> bool {
        let settle = self.settle.as_ref();
        settle.is_some_and(|settle| settle.is_waiting(name))
    }

    /// Whether the folder said the same when it was last acted on. A failed load is not tried
    /// again before that changes.
    pub(super) fn was_tried(&self, name: &ModelName, outcome: Result<&Aspired, &String>) -> bool {
        let last = self.lives.get(name).and_then(Lifecycle::last);
        last.is_some_and(|last| match (last, outcome) {
            (Ok(stamps), Ok(aspired)) => *stamps == aspired.stamps,
            (Err(last), Err(reason)) => last == reason,
            _ => false,
        })
    }

    /// Logs what was not logged before.
    pub(super) fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            if self.warned.len() < WARNING_LIMIT && self.warned.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
    }

    fn begin(&mut self, wanted: &Wanted) {
        let now = Instant::now();
        let listing = self.list();
        if self.mode != ControlMode::None {
            self.next_scan = Some(now + self.poll_interval);
        }
        match wanted {
            Wanted::These(names) => {
                self.initial.expect(names.iter());
                for name in names {
                    let load = Order::Load {
                        given: super::Given::default(),
                        reply: None,
                    };
                    self.order(name, load);
                }
            }
            Wanted::All => {
                self.initial.expect(listing.models.keys());
                for name in listing.models.keys() {
                    self.begin_model(name, now);
                }
            }
        }
    }

    /// Loads a model found at start, if its files are at rest.
    fn begin_model(&mut self, name: &ModelName, now: Instant) {
        if let Some(settle) = &mut self.settle
            && let Some(found) = self.source.model(name)
            && !found.is_quiet(self.settle_window, SystemTime::now())
        {
            settle.discovered(name, found.fingerprint, now);
        } else {
            self.order(name, Order::Refresh);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.stop_by
            .is_some_and(|deadline| now >= deadline || self.threads.busy_count() == 0)
    }

    fn wait(
        &self,
        inbox: &Receiver<Message<L::Model>>,
    ) -> Result<Message<L::Model>, RecvTimeoutError> {
        let now = Instant::now();
        let settled = self.settle.as_ref().and_then(Settle::next_wake);
        let retry = self.threads.retry_after().map(|delay| now + delay);
        let wakes = [settled, self.next_scan, self.stop_by, retry];
        match wakes.into_iter().flatten().min() {
            Some(wake) => inbox.recv_timeout(wake.saturating_duration_since(now)),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, message: Message<L::Model>) {
        match message {
            Message::Command(command) => self.command(command),
            Message::Loaded {
                model,
                version,
                result,
            } => {
                self.threads.load_ended();
                let result = self.keep(&model, version, result);
                self.loaded(&model, version, result);
            }
            Message::Replaced(replaced) => {
                self.threads.replace_ended();
                self.replaced(replaced);
            }
            Message::Drained { model, version } => {
                self.threads.drain_ended();
                self.drained(&model, version);
            }
            Message::Heard(heard) => self.hear(heard),
            Message::Stop { deadline } => self.stop(deadline),
        }
    }

    fn command(&mut self, command: Command) {
        let (model, order) = match command {
            Command::Load {
                model,
                given,
                reply,
            } => {
                let reply = Some(reply);
                (model, Order::Load { given, reply })
            }
            Command::Unload { model, reply } => (model, Order::Unload { reply: Some(reply) }),
            Command::Look { reply } => {
                self.list();
                return answer(Some(reply), Ok(()));
            }
        };
        if self.stop_by.is_some() {
            refuse(order);
        } else {
            self.order(&model, order);
        }
    }

    /// What is loaded after the stop has begun is not put to use.
    fn keep(
        &mut self,
        name: &ModelName,
        version: u64,
        result: Result<Arc<L::Model>>,
    ) -> Result<Arc<L::Model>> {
        let model = result?;
        if self.stop_by.is_none() {
            return Ok(model);
        }
        self.threads.drain(name, version, model);
        Err(exiting())
    }

    fn hear(&mut self, heard: Heard) {
        let now = Instant::now();
        let Some(settle) = &mut self.settle else {
            return;
        };
        match heard {
            Heard::Change(change) => return settle.observe(change, now),
            Heard::Unknown => {}
            Heard::Deaf(reason) => {
                let text = format!("changes in the model repository may be seen late: {reason}");
                self.warn(&[text]);
            }
        }
        let soon = now + self.settle_window;
        self.next_scan = Some(self.next_scan.map_or(soon, |next| next.min(soon)));
    }

    fn tick(&mut self, now: Instant) {
        if self.next_scan.is_some_and(|next| next <= now) {
            self.scan(now);
            self.next_scan = Some(now + self.poll_interval);
        }
        let due = self.settle.as_mut().map(|settle| settle.due(now));
        let due = due.unwrap_or_default();
        for name in due.settled {
            self.order(&name, Order::Refresh);
        }
        for name in due.unconfirmed {
            self.confirm(&name, now);
        }
    }

    /// Looks whether a model's files are at rest, as it seems.
    fn confirm(&mut self, name: &ModelName, now: Instant) {
        let found = self.source.model(name);
        let quiet = found
            .as_ref()
            .is_none_or(|found| found.is_quiet(self.settle_window, SystemTime::now()));
        let files = fingerprint(found.as_ref());
        let settled = match &mut self.settle {
            Some(settle) => settle.scanned(name, files, quiet, now),
            None => true,
        };
        if settled {
            self.order(name, Order::Refresh);
        } else {
            // Somebody copies it at this moment: the server need not wait for that.
            self.initial.done(name, None);
        }
    }

    /// Looks for changes that nobody told of.
    fn scan(&mut self, now: Instant) {
        let listing = self.list();
        if self.settle.is_none() {
            return;
        }
        let mut names: BTreeSet<ModelName> = listing.models.into_keys().collect();
        if listing.complete {
            names.extend(self.lives.keys().cloned());
        }
        for name in names {
            self.compare(&name, now);
        }
    }

    fn compare(&mut self, name: &ModelName, now: Instant) {
        if self.lives.get(name).is_some_and(Lifecycle::is_busy) {
            return;
        }
        let found = self.source.model(name);
        let files = fingerprint(found.as_ref());
        let same = match found {
            Some(found) => {
                self.warn(&found.warnings);
                let outcome = found.aspire(name, None);
                self.was_tried(name, outcome.as_ref())
            }
            None => self.lives.get(name).and_then(Lifecycle::last).is_none(),
        };
        if !same && let Some(settle) = &mut self.settle {
            settle.discovered(name, files, now);
        }
    }

    /// Lists the repositories, and has the index name what is there.
    fn list(&mut self) -> Listing {
        let listing = self.source.list();
        self.warn(&listing.warnings);
        let forget = listing.complete && self.mode == ControlMode::Explicit;
        self.registry.mention(listing.models.keys(), forget);
        listing
    }

    /// Begins to unload everything; orders that wait are refused.
    fn stop(&mut self, deadline: Instant) {
        self.stop_by = Some(deadline);
        self.next_scan = None;
        self.settle = None;
        let names: Vec<_> = self.lives.keys().cloned().collect();
        for name in &names {
            let orders = self.lives.get_mut(name).map(Lifecycle::take_orders);
            orders.into_iter().flatten().for_each(refuse);
            self.unload(name);
        }
        for request in self.threads.take_waiting() {
            self.loaded(&request.name, request.version, Err(exiting()));
        }
        self.initial.give_up();
    }
}

fn refuse(order: Order) {
    match order {
        Order::Refresh => {}
        Order::Load { reply, .. } | Order::Unload { reply } => answer(reply, Err(exiting())),
    }
}

fn fingerprint(found: Option<&Found>) -> Fingerprint {
    found.map_or(Fingerprint::ABSENT, |found| found.fingerprint)
}
