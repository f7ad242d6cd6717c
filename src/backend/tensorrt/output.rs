//! Memory for outputs whose size TensorRT only knows while it executes.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tensorrt_sys::{self as sys, trt_allocator, trt_dims};

use super::engine::shape;
use crate::{
    device::{DevicePool, cuda::DeviceSpan},
    tensor::Shape,
};

/// Takes memory for one output of one context.
#[derive(Debug)]
pub(super) struct Allocator {
    raw: NonNull<trt_allocator>,
    // Dropped after the allocator, which calls it; it does not move.
    state: Box<State>,
}

#[derive(Debug)]
struct State {
    output: CString,
    pool: Arc<DevicePool>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    span: Option<DeviceSpan>,
    shape: Option<Shape>,
}

// SAFETY: the allocator is called by its context only, and its state may be used from any thread.
unsafe impl Send for Allocator {}

impl Allocator {
    pub(super) fn new(output: &CStr, pool: &Arc<DevicePool>) -> Option<Self> {
        let state = Box::new(State {
            output: output.to_owned(),
            pool: Arc::clone(pool),
            taken: Mutex::default(),
        });
        let user = ptr::from_ref(&*state).cast_mut().cast();
        // SAFETY: the state outlives the allocator and does not move; the callbacks do not unwind.
        let raw = unsafe { sys::trt_allocator_new(Some(allocate), Some(tell_shape), user) };
        Some(Self {
            raw: NonNull::new(raw)?,
            state,
        })
    }

    pub(super) fn raw(&self) -> *mut trt_allocator {
        self.raw.as_ptr()
    }

    pub(super) fn is_for(&self, output: &CStr) -> bool {
        *self.state.output == *output
    }

    /// What was taken in the last execution.
    pub(super) fn span(&self) -> Option<DeviceSpan> {
        self.state.taken().span.clone()
    }

    /// The same with the shape, once.
    pub(super) fn take(&mut self) -> Option<(DeviceSpan, Shape)> {
        let taken = std::mem::take(&mut *self.state.taken());
        Some((taken.span?, taken.shape?))
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        // SAFETY: the allocator is ours, and its context is gone.
        unsafe { sys::trt_allocator_free(self.raw()) };
    }
}

impl State {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where so many bytes are; null if there is no memory for them.
    fn allocate(&self, byte_size: u64, alignment: u64) -> *mut c_void {
        let span = usize::try_from(byte_size)
            .ok()
            .and_then(|size| self.pool.take(size).ok());
        let pointer = span.as_ref().map_or(ptr::null_mut(), DeviceSpan::pointer);
        let address = pointer.addr() as u64;
        let mut taken = self.taken();
        *taken = Taken { span, shape: None };
        match address.is_multiple_of(alignment.max(1)) {
            true => pointer,
            false => ptr::null_mut(),
        }
    }
}

/// # Safety
/// `user` is the state that the allocator was made with.
unsafe extern "C" fn allocate(
    user: *mut c_void,
    _tensor: *const c_char,
    byte_size: u64,
    alignment: u64,
) -> *mut c_void {
    // SAFETY: the caller says so, and the state outlives the allocator.
    let Some(state) = (unsafe { user.cast::<State>().as_ref() }) else {
        return ptr::null_mut();
    };
    // A panic must not go through C++.
    catch_unwind(AssertUnwindSafe(|| state.allocate(byte_size, alignment)))
        .unwrap_or(ptr::null_mut())
}

/// # Safety
/// As [`allocate`]; `dims` is a live shape.
unsafe extern "C" fn tell_shape(user: *mut c_void, _tensor: *const c_char, dims: *const trt_dims) {
    // SAFETY: the caller says so, and the state outlives the allocator.
    let Some(state) = (unsafe { user.cast::<State>().as_ref() }) else {
        return;
    };
    // SAFETY: the shim passes a live shape.
    let told = unsafe { dims.as_ref() }.and_then(shape);
    // A panic must not go through C++.
    let _ = catch_unwind(AssertUnwindSafe(|| state.taken().shape = told));
}
