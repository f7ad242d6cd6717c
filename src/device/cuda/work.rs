//! Work given to streams, and what it uses for as long as they are at it.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use cudarc::driver::sys;
use smallvec::SmallVec;

use super::{Argument, Context, DeviceError, DeviceSpan, Graph, Kernel, Stream, event::Event};
use crate::{
    device::{HostSlab, kernels::Launch},
    tensor::Memory,
};

/// A piece of work on one device, over any number of its streams. What it uses it keeps, until the
/// streams have passed: host memory that a device still reads or writes is never given away.
///
/// Dropped unfinished, it waits for its streams.
#[derive(Debug)]
pub struct Work {
    context: Arc<Context>,
    streams: SmallVec<[Arc<Stream>; 3]>,
    marks: SmallVec<[Event; 3]>,
    kept: Kept,
}

/// Work that is under way. Dropped, it waits for its end.
#[derive(Debug)]
pub struct Pending {
    event: Event,
    marks: SmallVec<[Event; 3]>,
    kept: Kept,
}

/// What came of a piece of work.
#[derive(Debug, Default)]
pub struct Landed {
    /// What was downloaded, in the order of the downloads.
    pub slabs: Vec<HostSlab>,
    /// The device's time from each mark to the next, and from the last to the end.
    pub times: SmallVec<[Duration; 3]>,
}

/// What work uses.
#[derive(Debug, Default)]
pub(super) struct Kept {
    spans: SmallVec<[DeviceSpan; 8]>,
    sources: SmallVec<[Bytes; 4]>,
    kernels: SmallVec<[Kernel; 2]>,
    graphs: SmallVec<[Arc<Graph>; 1]>,
    /// What the host gets, in the order in which it was asked for.
    landing: Vec<HostSlab>,
}

impl Work {
    /// No work yet. It is to be given by the thread that makes this: the driver wants the context of
    /// the streams to be the thread's own.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        context.enter()?;
        Ok(Self {
            context: Arc::clone(context),
            streams: SmallVec::new(),
            marks: SmallVec::new(),
            kept: Kept::default(),
        })
    }

    /// Copies host memory to the beginning of a span of the device's. From pinned memory it is done
    /// while the host goes on; other memory is read first.
    ///
    /// # Errors
    /// If the span is too small, or the device is lost.
    pub fn upload(
        &mut self,
        stream: &Arc<Stream>,
        destination: &DeviceSpan,
        source: Bytes,
    ) -> Result<(), DeviceError> {
        self.fits("cuMemcpyHtoDAsync", source.len(), destination)?;
        self.uses(stream);
        self.kept.spans.push(destination.clone());
        let (address, byte_size) = (source.as_ptr().cast(), source.len());
        self.kept.sources.push(source);
        // SAFETY: source and destination are kept, hold so many bytes, and nobody writes to a
        // `Bytes`; the stream is kept too.
        let result = unsafe {
            sys::cuMemcpyHtoDAsync_v2(destination.address(), address, byte_size, stream.raw())
        };
        self.context.check("cuMemcpyHtoDAsync", result)
    }

    /// Copies the beginning of a span of the device's memory into all of `destination`, which comes
    /// back from [`Pending::wait`]. Into memory that is not pinned it is done before this returns.
    ///
    /// # Errors
    /// If the span is too small, or the device is lost.
    pub fn download(
        &mut self,
        stream: &Arc<Stream>,
        source: &DeviceSpan,
        mut destination: HostSlab,
    ) -> Result<(), DeviceError> {
        self.fits("cuMemcpyDtoHAsync", destination.len(), source)?;
        self.uses(stream);
        self.kept.spans.push(source.clone());
        let (address, byte_size) = (destination.as_mut_ptr().cast(), destination.len());
        self.kept.landing.push(destination);
        // SAFETY: both are kept and hold so many bytes; a slab's memory does not move with it, and
        // nobody else has the slab until the stream has passed. The stream is kept too.
        let result = unsafe {
            sys::cuMemcpyDtoHAsync_v2(address, source.address(), byte_size, stream.raw())
        };
        self.context.check("cuMemcpyDtoHAsync", result)
    }

    /// Copies all of `source` to the beginning of `destination`, which may be another device's.
    ///
    /// # Errors
    /// If the destination is too small, or a device is lost.
    pub fn copy(
        &mut self,
        stream: &Arc<Stream>,
        destination: &DeviceSpan,
        source: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        self.fits("cuMemcpyDtoDAsync", source.byte_size(), destination)?;
        self.uses(stream);
        self.kept.spans.push(destination.clone());
        self.kept.spans.push(source.clone());
        let (to, from, byte_size) = (destination.address(), source.address(), source.byte_size());
        if destination.context().ordinal() == source.context().ordinal() {
            // SAFETY: both spans are kept and hold so many bytes; the stream is kept too.
            let result = unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, byte_size, stream.raw()) };
            return self.context.check("cuMemcpyDtoDAsync", result);
        }
        let (to_context, from_context) = (destination.context().raw(), source.context().raw());
        // SAFETY: as above; the spans keep their contexts.
        let result = unsafe {
            sys::cuMemcpyPeerAsync(to, to_context, from, from_context, byte_size, stream.raw())
        };
        self.context.check("cuMemcpyPeerAsync", result)
    }

    /// Sets every byte of a span.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn fill(
        &mut self,
        stream: &Arc<Stream>,
        span: &DeviceSpan,
        value: u8,
    ) -> Result<(), DeviceError> {
        self.uses(stream);
        self.kept.spans.push(span.clone());
        // SAFETY: the span is kept and holds so many bytes; the stream is kept too.
        let result =
            unsafe { sys::cuMemsetD8Async(span.address(), value, span.byte_size(), stream.raw()) };
        self.context.check("cuMemsetD8Async", result)
    }

    /// Launches a kernel.
    ///
    /// # Errors
    /// If it cannot be launched so, or the device is lost.
    ///
    /// # Safety
    /// The arguments are those that the kernel's source declares, in number, order and size, and the
    /// kernel touches no memory but the spans among them.
    pub unsafe fn launch(
        &mut self,
        stream: &Arc<Stream>,
        kernel: &Kernel,
        [grid, block]: [[u32; 3]; 2],
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        self.uses(stream);
        self.kept.kernels.push(kernel.clone());
        self.kept
            .spans
            .extend(arguments.iter().filter_map(Argument::span).cloned());
        // SAFETY: what the caller promises; kernel, spans and stream are kept.
        let result = unsafe { kernel.launch(stream, grid, block, arguments) };
        self.context.check("cuLaunchKernel", result)
    }

    /// Launches a kernel of the house.
    ///
    /// # Errors
    /// As [`Work::launch`].
    ///
    /// # Safety
    /// `kernel` is the entry of `launch`, and touches no memory but what has been kept.
    pub(super) unsafe fn launch_own(
        &mut self,
        stream: &Arc<Stream>,
        kernel: &Kernel,
        launch: &impl Launch,
    ) -> Result<(), DeviceError> {
        self.uses(stream);
        self.kept.kernels.push(kernel.clone());
        let (geometry, arguments) = (launch.geometry(), launch.arguments());
        let extents = [geometry.grid, geometry.block];
        // SAFETY: what the caller promises; a launch's arguments are those of its entry.
        let result = unsafe { kernel.launch_at(stream, extents, arguments.pointers()) };
        self.context.check("cuLaunchKernel", result)
    }

    /// Keeps a span that an engine touches, which is given to `stream` by other ways than this.
    pub fn keep(&mut self, stream: &Arc<Stream>, span: DeviceSpan) {
        self.uses(stream);
        self.kept.spans.push(span);
    }

    /// Keeps a span that a kernel touches.
    pub(super) fn keep_span(&mut self, span: DeviceSpan) {
        self.kept.spans.push(span);
    }

    /// Keeps host memory that a kernel or an engine reads.
    pub fn keep_source(&mut self, source: Bytes) {
        self.kept.sources.push(source);
    }

    /// Keeps host memory that a kernel writes; it comes back from [`Pending::wait`].
    pub(super) fn keep_landing(&mut self, destination: HostSlab) {
        self.kept.landing.push(destination);
    }

    /// Does again what a graph was captured from.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn replay(&mut self, stream: &Arc<Stream>, graph: &Arc<Graph>) -> Result<(), DeviceError> {
        self.uses(stream);
        self.kept.graphs.push(Arc::clone(graph));
        // SAFETY: graph and stream are kept.
        let result = unsafe { sys::cuGraphLaunch(graph.raw(), stream.raw()) };
        self.context.check("cuGraphLaunch", result)
    }

    /// What `then` is given from now on waits for what `first` was given until now.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn order(&mut self, first: &Arc<Stream>, then: &Arc<Stream>) -> Result<(), DeviceError> {
        self.uses(first);
        self.uses(then);
        let event = Event::new(first.context())?;
        first.record(&event)?;
        then.wait(&event)
    }

    /// Has the time taken at which the stream comes to this place: see [`Landed::times`]. Not in a graph.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn mark(&mut self, stream: &Arc<Stream>) -> Result<(), DeviceError> {
        self.uses(stream);
        let event = Event::timed(&self.context)?;
        stream.record(&event)?;
        self.marks.push(event);
        Ok(())
    }

    /// Ends the piece: it is done when every stream that was used has come to this place.
    ///
    /// # Errors
    /// If the device is lost; then all of it has ended.
    pub fn finish(mut self) -> Result<Pending, DeviceError> {
        let event = match self.marks.is_empty() {
            true => Event::new(&self.context)?,
            false => Event::timed(&self.context)?,
        };
        let streams: SmallVec<[Arc<Stream>; 3]> = self.streams.clone();
        if let Some((last, others)) = streams.split_last() {
            for other in others {
                self.order(other, last)?;
            }
            last.record(&event)?;
        }
        self.streams.clear();
        Ok(Pending {
            event,
            marks: mem::take(&mut self.marks),
            kept: mem::take(&mut self.kept),
        })
    }

    /// What was used so far, if nothing of it is under way: for work that was captured.
    pub(super) fn into_kept(mut self) -> Kept {
        self.streams.clear();
        mem::take(&mut self.kept)
    }

    /// The stream that was used last is the last of the list.
    fn uses(&mut self, stream: &Arc<Stream>) {
        self.streams.retain(|used| !Arc::ptr_eq(used, stream));
        self.streams.push(Arc::clone(stream));
    }

    fn fits(
        &self,
        call: &'static str,
        byte_size: usize,
        span: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        if byte_size <= span.byte_size() {
            return Ok(());
        }
        Err(DeviceError::Failed {
            device: self.context.device(),
            call,
            code: format!("{byte_size} bytes for a span of {}", span.byte_size()),
        })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        for stream in &self.streams {
            // On a lost device nothing is under way.
            let _ = stream.synchronize();
        }
    }
}

impl Kept {
    pub(super) fn has_landing(&self) -> bool {
        !self.landing.is_empty()
    }
}

impl Pending {
    /// Whether it is done; does not wait.
    ///
    /// # Errors
    /// If the device is lost; then it has ended too.
    pub fn is_done(&self) -> Result<bool, DeviceError> {
        self.event.is_reached()
    }

    /// Sleeps until it is done, and gives back what was downloaded, in the order of the downloads.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn wait(self) -> Result<Vec<HostSlab>, DeviceError> {
        Ok(self.land()?.slabs)
    }

    /// Sleeps until it is done, and says what came of it.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn land(mut self) -> Result<Landed, DeviceError> {
        self.event.wait()?;
        let mut times = SmallVec::new();
        let ends = self.marks.iter().skip(1).chain([&self.event]);
        for (mark, end) in self.marks.iter().zip(ends) {
            times.push(mark.time_to(end)?);
        }
        Ok(Landed {
            slabs: mem::take(&mut self.kept.landing),
            times,
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // On a lost device nothing is under way; an event that was reached is not waited for.
        let _ = self.event.wait();
    }
}
