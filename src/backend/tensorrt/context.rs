//! Execution contexts: an engine in one profile, with the memory that it works in. What an execution
//! uses is bound to the context first, and kept by the work that it becomes part of.

use std::{
    ffi::CStr,
    ptr::NonNull,
    sync::{Arc, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tensorrt_sys::{self as sys, trt_context};

use super::{
    engine::{Engine, dims, no_shape, shape},
    output::Allocator,
};
use crate::{
    backend::BackendError,
    device::{
        DevicePool, Entry, Lane, Purpose,
        cuda::{DeviceMemory, DeviceSpan, Stream, Work},
    },
    tensor::Shape,
};

/// One execution at a time can be given; several may be under way on one stream.
#[derive(Debug)]
pub(super) struct ExecutionContext {
    raw: NonNull<trt_context>,
    stream: Arc<Stream>,
    /// What the next execution uses.
    bound: Vec<DeviceSpan>,
    values: Vec<Bytes>,
    allocators: Vec<Allocator>,
    // Dropped after the context.
    workspace: Option<Arc<Workspace>>,
    engine: Arc<Engine>,
}

/// What the contexts of an instance work in: one for all of them, for they are on one stream, and the entry
/// on its account.
#[derive(Debug)]
pub(super) struct Workspace {
    memory: Arc<DeviceMemory>,
    _entry: Entry,
}

// SAFETY: a context may go to another thread; `&mut self` keeps it from being used by two at once.
unsafe impl Send for ExecutionContext {}

impl ExecutionContext {
    /// A context of that profile whose executions go to the lane's compute stream, in a workspace that is
    /// large enough for it.
    ///
    /// # Errors
    /// If TensorRT refuses.
    pub(super) fn new(
        engine: &Arc<Engine>,
        profile: usize,
        lane: &Lane,
        workspace: Option<&Arc<Workspace>>,
    ) -> Result<Self, BackendError> {
        let failed = |what| cannot(engine, what);
        engine.context().enter()?;
        let raw = {
            let _making = engine
                .making()
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the engine lives as long as the context, and nobody else makes one.
            unsafe { sys::trt_context_new(engine.raw()) }
        };
        let raw = NonNull::new(raw).ok_or_else(|| failed("make an execution context"))?;
        let context = Self {
            raw,
            stream: Arc::clone(lane.compute()),
            bound: Vec::new(),
            values: Vec::new(),
            allocators: Vec::new(),
            workspace: workspace.map(Arc::clone),
            engine: Arc::clone(engine),
        };
        context
            .settle(profile)
            .ok_or_else(|| failed("take that profile"))?;
        context.stream.synchronize()?;
        Ok(context)
    }

    /// Gives it its memory and its profile, for good.
    fn settle(&self, profile: usize) -> Option<()> {
        if let Some(memory) = self.workspace.as_ref().map(|workspace| &workspace.memory) {
            let byte_size = i64::try_from(memory.byte_size()).ok()?;
            // SAFETY: the memory is the device's, has so many bytes, and lives as long as the context.
            let is_set = unsafe {
                sys::trt_context_set_workspace(self.raw.as_ptr(), memory.pointer(), byte_size)
            };
            is_set.then_some(())?;
        }
        let profile = i32::try_from(profile).ok()?;
        // SAFETY: the stream lives as long as the context.
        unsafe { sys::trt_context_set_profile(self.raw.as_ptr(), profile, self.stream.pointer()) }
            .then_some(())
    }

    /// Says which shape an input of variable shape has.
    pub(super) fn set_shape(&mut self, input: &CStr, shape: &Shape) -> Option<()> {
        let raw = dims(shape)?;
        // SAFETY: context, name and shape live.
        unsafe { sys::trt_context_set_shape(self.raw.as_ptr(), input.as_ptr(), &raw const raw) }
            .then_some(())
    }

    /// Says where a tensor is; the memory is kept for the next execution.
    pub(super) fn bind(&mut self, tensor: &CStr, span: &DeviceSpan) -> Option<()> {
        self.bound.push(span.clone());
        // SAFETY: context and name live; the memory is kept until the execution that uses it is done.
        unsafe { sys::trt_context_set_address(self.raw.as_ptr(), tensor.as_ptr(), span.pointer()) }
            .then_some(())
    }

    /// Gives an input's values, which TensorRT reads on the host; they are kept for the next execution.
    pub(super) fn bind_values(&mut self, input: &CStr, values: &Bytes) -> Option<()> {
        let values = aligned(values);
        let address = values.as_ptr().cast_mut().cast();
        self.values.push(values);
        // SAFETY: context and name live; the memory is kept until the execution that reads it is done, and
        // inputs are only read.
        unsafe { sys::trt_context_set_address(self.raw.as_ptr(), input.as_ptr(), address) }
            .then_some(())
    }

    /// Works out the outputs' shapes. To be called when all inputs are bound.
    pub(super) fn infer_shapes(&mut self) -> Option<()> {
        // SAFETY: the context lives.
        (unsafe { sys::trt_context_infer_shapes(self.raw.as_ptr()) } == 0).then_some(())
    }

    /// An output's shape; dimensions that depend on data are -1.
    pub(super) fn shape(&self, output: &CStr) -> Option<Shape> {
        let mut raw = no_shape();
        // SAFETY: context and name live, and the pointer is to a live value.
        let is_known =
            unsafe { sys::trt_context_shape(self.raw.as_ptr(), output.as_ptr(), &raw mut raw) };
        shape(&raw).filter(|_| is_known)
    }

    /// Has TensorRT take memory for an output from `pool` when it knows how much that is. Once for
    /// each such output; its memory then comes from [`ExecutionContext::allocated`].
    pub(super) fn allocate(&mut self, output: &CStr, pool: &Arc<DevicePool>) -> Option<()> {
        if self
            .allocators
            .iter()
            .any(|allocator| allocator.is_for(output))
        {
            return Some(());
        }
        let allocator = Allocator::new(output, pool)?;
        // SAFETY: context and name live; the allocator lives as long as the context, which is dropped
        // before it.
        let is_set = unsafe {
            sys::trt_context_set_allocator(self.raw.as_ptr(), output.as_ptr(), allocator.raw())
        };
        self.allocators.push(allocator);
        is_set.then_some(())
    }

    /// What the last execution made of an output whose size was not known.
    pub(super) fn allocated(&mut self, output: &CStr) -> Option<(DeviceSpan, Shape)> {
        let mut allocators = self.allocators.iter_mut();
        allocators
            .find(|allocator| allocator.is_for(output))?
            .take()
    }

    /// Gives the stream an execution with what is bound, which `work` keeps from now on.
    ///
    /// # Errors
    /// TensorRT's reason.
    pub(super) fn enqueue(&mut self, work: &mut Work) -> Result<(), BackendError> {
        for span in self.bound.drain(..) {
            work.keep(&self.stream, span);
        }
        for values in self.values.drain(..) {
            work.keep_source(values);
        }
        // SAFETY: the context lives; every address that was set is of memory that the work keeps until
        // the stream has passed.
        let is_given =
            unsafe { sys::trt_context_enqueue(self.raw.as_ptr(), self.stream.pointer()) };
        for span in self.allocators.iter().filter_map(Allocator::span) {
            work.keep(&self.stream, span);
        }
        match is_given {
            true => Ok(()),
            false => Err(self.failed("execute")),
        }
    }

    /// Forgets what is bound: for a batch that failed before it was given.
    pub(super) fn unbind(&mut self) {
        self.bound.clear();
        self.values.clear();
    }

    pub(super) fn failed(&self, what: &str) -> BackendError {
        BackendError::Failed(self.message(what))
    }

    /// The same, where it is the request that is wrong.
    pub(super) fn refused(&self, what: &str) -> BackendError {
        BackendError::InvalidInput(self.message(what))
    }

    fn message(&self, what: &str) -> String {
        format!("TensorRT failed to {what}: {}", self.engine.last_error())
    }
}

impl Workspace {
    /// What the largest of those profiles needs; none if that is nothing.
    ///
    /// # Errors
    /// If the device has no memory for it, or TensorRT does not say how much it is.
    pub(super) fn for_profiles(
        engine: &Engine,
        profiles: &[usize],
        lane: &Lane,
    ) -> Result<Option<Arc<Self>>, BackendError> {
        let sizes = profiles
            .iter()
            .map(|&profile| engine.workspace_byte_size(profile));
        let most = sizes
            .collect::<Option<Vec<_>>>()
            .map(|sizes| sizes.into_iter().max().unwrap_or(0));
        let byte_size = most.ok_or_else(|| cannot(engine, "say how much memory it needs"))?;
        if byte_size == 0 {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            memory: DeviceMemory::new(lane.device().context(), byte_size)?,
            _entry: lane.account().hold(Purpose::Workspace, byte_size),
        })))
    }
}

fn cannot(engine: &Engine, what: &str) -> BackendError {
    BackendError::Failed(format!("TensorRT cannot {what}: {}", engine.last_error()))
}

/// The same bytes, where 64-bit numbers may be read.
fn aligned(bytes: &Bytes) -> Bytes {
    const ALIGNMENT: usize = align_of::<i64>();
    if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
        return bytes.clone();
    }
    let mut copy = BytesMut::zeroed(bytes.len() + ALIGNMENT);
    let from = copy.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let place = from..from + bytes.len();
    copy[place.clone()].copy_from_slice(bytes);
    copy.freeze().slice(place)
}

impl Drop for ExecutionContext {
    fn drop(&mut self) {
        let _ = self.engine.context().enter();
        // SAFETY: the context is ours, and nothing of it is under way: an instance drains its lane first.
        unsafe { sys::trt_context_free(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_moved_only_if_they_have_to_be() {
        let whole = aligned(&Bytes::from(vec![7; 64]));
        for start in 0..16 {
            let bytes = whole.slice(start..start + 16);
            let moved = aligned(&bytes);
            assert_eq!(moved, bytes);
            assert_eq!(moved.as_ptr().align_offset(8), 0);
            assert_eq!(moved.as_ptr() == bytes.as_ptr(), start % 8 == 0);
        }
    }
}
