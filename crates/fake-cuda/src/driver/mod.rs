//! The driver's functions, as `cuda.h` declares them. Each reads what C passes, asks the rest of the
//! crate, and writes what C expects; nothing is decided here.

mod context;
mod copy;
mod device;
mod event;
mod graph;
mod memory;
mod module;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
};

pub(crate) use self::device::bus_id;
use crate::{code::Code, device::Device, state::state, table::Handle};

/// Exports functions whose body yields `Result<(), Code>`.
macro_rules! exported {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $body:block)*) => {$(
        /// See the header of the library that this one stands in for.
        ///
        /// # Safety
        /// Pointers are valid for what the header says is read or written through them.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> std::ffi::c_int {
            #[allow(clippy::redundant_closure_call)]
            $crate::code::of((move || -> Result<(), $crate::code::Code> { $body })())
        }
    )*};
}
pub(crate) use exported;

/// A pointer through which C expects an answer.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn set(&self, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: such a pointer comes from C only, as an argument that the header says is written.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

impl Out<c_char> {
    /// Writes as much of `text` as fits, and a zero.
    pub(crate) fn set_text(&self, byte_size: usize, text: &str) -> Result<(), Code> {
        let length = text
            .len()
            .min(byte_size.checked_sub(1).ok_or(Code::INVALID_VALUE)?);
        let bytes = text.bytes().take(length).chain([0]);
        for (index, byte) in bytes.enumerate() {
            // SAFETY: C says that so many bytes can be written.
            let at = unsafe { self.0.add(index) };
            Out(at).set(byte as c_char)?;
        }
        Ok(())
    }
}

impl Out<c_void> {
    /// For answers whose type depends on a question.
    pub(crate) fn cast<T>(&self) -> Out<T> {
        Out(self.0.cast())
    }
}

/// A string that C passes.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub(crate) fn read(&self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: such a pointer comes from C only, and the header says that it is a string.
        let text = unsafe { CStr::from_ptr(self.0) };
        Ok(text.to_string_lossy().into_owned())
    }
}

thread_local! {
    /// The context that is current on this thread, as a handle: the device's ordinal and one.
    static CURRENT: Cell<Handle> = const { Cell::new(0) };
}

/// The device whose context is current.
///
/// # Errors
/// If none is, or it was released, or the device is dead.
fn current() -> Result<&'static Device, Code> {
    let ordinal = CURRENT.get().checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
    let device = state().device(ordinal)?;
    device.check()?;
    match device.has_context() {
        true => Ok(device),
        false => Err(Code::INVALID_CONTEXT),
    }
}

/// The device of a context.
fn of_context(context: Handle) -> Result<&'static Device, Code> {
    let ordinal = context.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
    state().device(ordinal)
}

/// The device with that number.
fn numbered(ordinal: c_int) -> Result<&'static Device, Code> {
    let ordinal = usize::try_from(ordinal).map_err(|_| Code::INVALID_DEVICE)?;
    state().device(ordinal)
}

exported! {
    fn cuInit(_flags: c_uint) {
        match state().settings.init_error {
            0 if state().devices().is_empty() => Err(Code::NO_DEVICE),
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }

    fn cuDriverGetVersion(version: Out<c_int>) {
        version.set(state().settings.driver_version)
    }

    fn cuGetErrorName(code: c_int, name: Out<*const c_char>) {
        let known = Code(code).name().ok_or(Code::INVALID_VALUE)?;
        name.set(known.as_ptr())
    }

    fn cuGetErrorString(code: c_int, text: Out<*const c_char>) {
        let known = Code(code).name().ok_or(Code::INVALID_VALUE)?;
        text.set(known.as_ptr())
    }
}
