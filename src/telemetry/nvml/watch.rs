//! What goes wrong with a GPU, told when it happens and not with the next sample: a thread of its own
//! waits for the library's events. The library gives each event to one waiter, so this counts them
//! too. What an error means for those who use the GPU is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nvml_wrapper::{
    EventSet, Nvml, bitmasks::event::EventTypes, enums::event::XidError, error::NvmlError,
    struct_wrappers::event::EventData,
};

use super::reading;

/// The longest wait for an event: the end of the thread waits as long.
const PATIENCE_MS: u32 = 100;
/// The time between two looks at whether each GPU still answers.
const ROUND: Duration = Duration::from_secs(1);
/// The number that the library gives to an error that it does not know.
const UNKNOWN_XID: u64 = 999;

/// What has happened to a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A critical error of that number, as the driver's log has it.
    Xid(u64),
    /// The library cannot reach it any more.
    Unreachable,
}

/// Critical errors since the watch began, by the GPU's UUID and their number.
#[derive(Clone, Debug, Default)]
pub struct XidCounts(Arc<Mutex<BTreeMap<String, BTreeMap<u64, u64>>>>);

impl XidCounts {
    /// Those of one GPU.
    pub fn of(&self, uuid: &str) -> BTreeMap<u64, u64> {
        self.counts().get(uuid).cloned().unwrap_or_default()
    }

    fn add(&self, uuid: &str, number: u64) {
        let mut counts = self.counts();
        let count = counts
            .entry(uuid.to_owned())
            .or_default()
            .entry(number)
            .or_insert(0);
        *count = count.saturating_add(1);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<u64, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the GPUs until it is dropped.
#[derive(Debug)]
pub struct GpuWatch {
    counts: XidCounts,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GpuWatch {
    /// Begins. `tell` gets the UUID of the GPU (of the whole one, where it is divided) and what has
    /// happened to it, on the thread that waits. Where there is no library nothing is told.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(tell: impl Fn(&str, Trouble) + Send + 'static) -> Result<Self, String> {
        let counts = XidCounts::default();
        let (end, ended) = mpsc::channel();
        let store = counts.clone();
        let thread = thread::Builder::new()
            .name("gpu-watch".to_owned())
            .spawn(move || match reading::open() {
                Ok(nvml) => Watch::new(&nvml, &store, &tell).run(&ended),
                Err(reason) => tracing::warn!(
                    "errors of GPUs are noticed only by those who use them: {reason}"
                ),
            })
            .map_err(|error| format!("cannot start a thread to watch GPUs: {error}"))?;
        Ok(Self {
            counts,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Where errors are counted.
    pub fn counts(&self) -> XidCounts {
        self.counts.clone()
    }
}

impl Drop for GpuWatch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported; nothing else depends on it.
            drop(thread.join());
        }
    }
}

/// The thread's own.
struct Watch<'a> {
    nvml: &'a Nvml,
    counts: &'a XidCounts,
    tell: &'a dyn Fn(&str, Trouble),
    /// Index and UUID of each GPU that could be reached at the beginning.
    gpus: Vec<(u32, String)>,
    unreachable: BTreeSet<u32>,
    /// Where errors arrive; `None` if no GPU tells them.
    events: Option<EventSet<'a>>,
}

impl<'a> Watch<'a> {
    fn new(nvml: &'a Nvml, counts: &'a XidCounts, tell: &'a dyn Fn(&str, Trouble)) -> Self {
        let count = nvml.device_count().unwrap_or(0);
        let gpus: Vec<_> = (0..count)
            .filter_map(|index| Some((index, nvml.device_by_index(index).ok()?.uuid().ok()?)))
            .collect();
        Self {
            events: subscribe(nvml, gpus.iter().map(|(index, _)| *index).collect()),
            nvml,
            counts,
            tell,
            gpus,
            unreachable: BTreeSet::new(),
        }
    }

    fn run(mut self, ended: &Receiver<()>) {
        let mut looked = Instant::now();
        loop {
            let pause = self.take_in();
            if looked.elapsed() >= ROUND {
                self.look();
                looked = Instant::now();
            }
            if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Waits for an event. Says how long to do nothing then: not at all, where waiting took the time.
    fn take_in(&self) -> Duration {
        let pause = Duration::from_millis(PATIENCE_MS.into());
        match self.events.as_ref().map(|events| events.wait(PATIENCE_MS)) {
            Some(Ok(event)) => self.note(&event),
            Some(Err(NvmlError::Timeout)) => {}
            None | Some(Err(_)) => return pause,
        }
        Duration::ZERO
    }

    fn note(&self, event: &EventData<'_>) {
        let number = match event.event_data {
            Some(XidError::Value(number)) => number,
            Some(XidError::Unknown) => UNKNOWN_XID,
            None => return,
        };
        let Ok(uuid) = event.device.uuid() else {
            return; // It is noticed by the next look.
        };
        tracing::warn!(gpu_uuid = %uuid, xid = number, "the driver reports an error of a GPU");
        // Told before it is counted: who sees the count finds what was made of it.
        (self.tell)(&uuid, Trouble::Xid(number));
        self.counts.add(&uuid, number);
    }

    /// Whether each still answers, which not every GPU tells by an event.
    fn look(&mut self) {
        for (index, uuid) in &self.gpus {
            let answer = self
                .nvml
                .device_by_index(*index)
                .and_then(|device| device.memory_info());
            let is_lost = matches!(answer, Err(NvmlError::GpuLost));
            if is_lost && self.unreachable.insert(*index) {
                (self.tell)(uuid, Trouble::Unreachable);
            }
        }
    }
}

/// A set that gets the critical errors of all these GPUs that tell them; `None` if none does.
fn subscribe(nvml: &Nvml, mut gpus: Vec<u32>) -> Option<EventSet<'_>> {
    'anew: while !gpus.is_empty() {
        let mut events = nvml.create_event_set().ok()?;
        for (at, index) in gpus.iter().enumerate() {
            match register(nvml, *index, events) {
                Some(with) => events = with,
                None => {
                    // The set is gone with it.
                    gpus.remove(at);
                    continue 'anew;
                }
            }
        }
        return Some(events);
    }
    None
}

fn register<'nvml>(
    nvml: &'nvml Nvml,
    index: u32,
    events: EventSet<'nvml>,
) -> Option<EventSet<'nvml>> {
    let device = nvml.device_by_index(index).ok()?;
    let xid = EventTypes::CRITICAL_XID_ERROR;
    let is_told = device.supported_event_types().ok()?.contains(xid);
    is_told.then(|| device.register_events(xid, events).ok())?
}
