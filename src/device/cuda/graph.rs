//! Graphs: work that was written down once and is then given to a stream in one call.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ptr, sync::Arc};

use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUstreamCaptureMode};

use super::{Context, DeviceError, Stream, Work, work::Kept};

/// An executable graph, destroyed on drop, with what its work uses.
#[derive(Debug)]
pub struct Graph {
    context: Arc<Context>,
    raw: CUgraphExec,
    _kept: Kept,
}

// SAFETY: a graph is a handle, and the driver may be called from any thread with it; it is launched
// only, which the driver does one after the other.
unsafe impl Send for Graph {}
// SAFETY: as above.
unsafe impl Sync for Graph {}

impl Graph {
    /// Writes down what `record` gives to `stream`, without doing it. Memory of the device must have
    /// been taken before, and nothing can be downloaded to the host.
    ///
    /// # Errors
    /// If `record` fails, if it gives the graph something that cannot be repeated, or if the device is
    /// lost.
    pub fn capture<E: From<DeviceError>>(
        stream: &Arc<Stream>,
        record: impl FnOnce(&mut Work) -> Result<(), E>,
    ) -> Result<Arc<Self>, E> {
        let context = stream.context();
        let mut work = Work::new(context)?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        let result = unsafe { sys::cuStreamBeginCapture_v2(stream.raw(), mode) };
        context.check("cuStreamBeginCapture", result)?;
        let recorded = record(&mut work);
        let kept = work.into_kept();
        let captured = Captured::end(stream);
        recorded?;
        if kept.has_landing() {
            return Err(DeviceError::Failed {
                device: context.device(),
                call: "cuStreamEndCapture",
                code: "a download in a graph".to_owned(),
            }
            .into());
        }
        Ok(captured?.instantiate(kept)?)
    }

    pub(super) fn raw(&self) -> CUgraphExec {
        self.raw
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.context.enter();
        // SAFETY: the graph is ours, and who launched it holds it until it is done.
        unsafe { sys::cuGraphExecDestroy(self.raw) };
    }
}

/// A graph that cannot be launched yet.
struct Captured {
    context: Arc<Context>,
    raw: CUgraph,
}

impl Captured {
    fn end(stream: &Stream) -> Result<Self, DeviceError> {
        let mut raw = ptr::null_mut();
        // SAFETY: the stream lives and is being captured; the pointer is to a live pointer.
        let result = unsafe { sys::cuStreamEndCapture(stream.raw(), &raw mut raw) };
        stream.context().check("cuStreamEndCapture", result)?;
        Ok(Self {
            context: Arc::clone(stream.context()),
            raw,
        })
    }

    fn instantiate(self, kept: Kept) -> Result<Arc<Graph>, DeviceError> {
        let mut raw = ptr::null_mut();
        // SAFETY: the graph lives, and the pointer is to a live pointer.
        let result = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut raw, self.raw, 0) };
        self.context.check("cuGraphInstantiateWithFlags", result)?;
        Ok(Arc::new(Graph {
            context: Arc::clone(&self.context),
            raw,
            _kept: kept,
        }))
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: the graph is ours; what was instantiated from it does not need it.
        unsafe { sys::cuGraphDestroy(self.raw) };
    }
}
