//! Streams: one thread each, which does what it is given in order.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
    mpsc::{self, Receiver, Sender},
};

use crate::{
    code::Code,
    device::Device,
    event::Event,
    graph::{Capture, Graph},
    operation::Operation,
    state::state,
    table::Handle,
};

/// The most urgent priority; the least urgent is 0.
pub(crate) const GREATEST_PRIORITY: i32 = -5;

/// One stream. Its thread ends, when the value is dropped, after what it was given is done.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) device: usize,
    pub(crate) priority: i32,
    /// Set once, right after it got one.
    handle: OnceLock<Handle>,
    sender: Mutex<Sender<Operation>>,
    progress: Arc<Progress>,
    capture: Mutex<Option<Arc<Capture>>>,
}

#[derive(Debug, Default)]
struct Progress {
    pending: Mutex<u64>,
    changed: Condvar,
}

impl Stream {
    /// # Panics
    /// If no thread can be started.
    pub(crate) fn new(device: usize, priority: i32) -> Self {
        let (sender, receiver) = mpsc::channel();
        let progress = Arc::<Progress>::default();
        let priority = priority.clamp(GREATEST_PRIORITY, 0);
        let work = Worker {
            device,
            priority,
            receiver,
            progress: Arc::clone(&progress),
        };
        std::thread::Builder::new()
            .name(format!("fake-gpu-{device}"))
            .spawn(move || work.run())
            .expect("a thread for a stream");
        Self {
            device,
            priority,
            handle: OnceLock::new(),
            sender: Mutex::new(sender),
            progress,
            capture: Mutex::default(),
        }
    }

    pub(crate) fn set_handle(&self, handle: Handle) {
        let _ = self.handle.set(handle);
    }

    fn handle(&self) -> Handle {
        self.handle.get().copied().unwrap_or(0)
    }

    /// Puts an operation into the stream, or into the graph that it is being captured into.
    pub(crate) fn push(&self, operation: Operation) -> Result<(), Code> {
        state().device(self.device)?.check()?;
        if let Some(capture) = &*self.captured() {
            capture.push(operation);
            return Ok(());
        }
        self.enqueue(operation)
    }

    fn enqueue(&self, operation: Operation) -> Result<(), Code> {
        *self.progress.pending() += 1;
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(operation)
            .map_err(|_| Code::UNKNOWN)
    }

    /// Waits until everything is done that was given to it.
    pub(crate) fn synchronize(&self) -> Result<(), Code> {
        self.refuse_capture()?;
        self.progress.wait();
        state().device(self.device)?.check()
    }

    pub(crate) fn is_idle(&self) -> Result<bool, Code> {
        self.refuse_capture()?;
        state().device(self.device)?.check()?;
        Ok(*self.progress.pending() == 0)
    }

    pub(crate) fn record(&self, event: &Arc<Event>) -> Result<(), Code> {
        if let Some(capture) = &*self.captured() {
            event.record_in(Arc::clone(capture), self.handle());
            return Ok(());
        }
        state().device(self.device)?.check()?;
        // From here on the mark must be reached, whatever happens to the device.
        self.enqueue(Operation::Record(event.record()))
    }

    pub(crate) fn wait(&self, event: &Arc<Event>) -> Result<(), Code> {
        if let Some((capture, from)) = event.capture() {
            let mut captured = self.captured();
            if captured.is_none() {
                capture.fork(self.handle());
                *captured = Some(capture);
            } else {
                capture.join(from);
            }
            return Ok(());
        }
        match event.mark() {
            Some(mark) => self.push(Operation::Wait(mark)),
            None => Ok(()),
        }
    }

    pub(crate) fn begin_capture(&self) -> Result<(), Code> {
        self.refuse_capture()?;
        *self.captured() = Some(Arc::new(Capture::new(self.handle())));
        Ok(())
    }

    /// Ends the capture that was begun here, for every stream that took part.
    pub(crate) fn end_capture(&self) -> Result<Graph, Code> {
        let capture = self
            .captured()
            .clone()
            .filter(|capture| capture.origin == self.handle())
            .ok_or(Code::STREAM_CAPTURE_UNMATCHED)?;
        *self.captured() = None;
        for stream in state().streams.values() {
            let mut captured = stream.captured();
            if captured
                .as_ref()
                .is_some_and(|other| Arc::ptr_eq(other, &capture))
            {
                *captured = None;
            }
        }
        capture.finish(self.device)
    }

    pub(crate) fn is_capturing(&self) -> bool {
        self.captured().is_some()
    }

    /// # Errors
    /// If the stream is being captured: what is asked for makes no sense then.
    pub(crate) fn refuse_capture(&self) -> Result<(), Code> {
        match self.is_capturing() {
            true => Err(Code::STREAM_CAPTURE_UNSUPPORTED),
            false => Ok(()),
        }
    }

    fn captured(&self) -> MutexGuard<'_, Option<Arc<Capture>>> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn pending(&self) -> MutexGuard<'_, u64> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish_one(&self) {
        *self.pending() -= 1;
        self.changed.notify_all();
    }

    fn wait(&self) {
        drop(
            self.changed
                .wait_while(self.pending(), |pending| *pending > 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

struct Worker {
    device: usize,
    priority: i32,
    receiver: Receiver<Operation>,
    progress: Arc<Progress>,
}

impl Worker {
    fn run(self) {
        let Ok(device) = state().device(self.device) else {
            return;
        };
        for operation in self.receiver {
            perform(device, self.priority, &operation);
            self.progress.finish_one();
        }
    }
}

/// On a dead device nothing is done any more, but whoever waits for a mark must come to it.
fn perform(device: &Device, priority: i32, operation: &Operation) {
    let bookkeeping = matches!(
        operation,
        Operation::Record(..) | Operation::Free(_) | Operation::Wait(..)
    );
    if device.check().is_err() && !bookkeeping {
        return;
    }
    if let Err(code) = operation.run(device, priority) {
        device.die(code);
    }
}
