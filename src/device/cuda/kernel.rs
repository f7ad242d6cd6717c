//! Modules and their kernels.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ffi::{CString, c_void},
    ptr,
    sync::Arc,
};

use cudarc::driver::sys::{self, CUfunction, CUmodule, CUresult};
use smallvec::SmallVec;

use super::{Context, DeviceError, DeviceSpan, Stream};

/// Kernels on a device, unloaded on drop.
#[derive(Debug)]
pub struct Module {
    context: Arc<Context>,
    raw: CUmodule,
}

// SAFETY: a module is a handle, and the driver may be called from any thread with it.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// One kernel of a module, which it keeps.
#[derive(Clone, Debug)]
pub struct Kernel {
    raw: CUfunction,
    _module: Arc<Module>,
}

// SAFETY: a function is a handle that is good while its module is loaded.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// What a kernel is launched with.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A pointer to device memory.
    Span(DeviceSpan),
    /// Eight bytes.
    U64(u64),
    /// Four bytes.
    U32(u32),
    /// Four bytes.
    F32(f32),
}

impl Module {
    /// Loads a fat binary, a cubin, or PTX that ends with a zero byte.
    ///
    /// # Errors
    /// If it has nothing for this device, or the device is lost.
    ///
    /// # Safety
    /// `image` is whole: the driver finds out by itself where it ends.
    pub unsafe fn load(context: &Arc<Context>, image: &[u8]) -> Result<Arc<Self>, DeviceError> {
        context.enter()?;
        let mut raw = ptr::null_mut();
        // SAFETY: what the caller promises; the pointer is to a live pointer.
        let result = unsafe { sys::cuModuleLoadData(&raw mut raw, image.as_ptr().cast()) };
        context.check("cuModuleLoadData", result)?;
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            raw,
        }))
    }

    /// The kernel whose entry has that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn kernel(self: &Arc<Self>, name: &str) -> Result<Kernel, DeviceError> {
        let failed = |code: String| DeviceError::Failed {
            device: self.context.device(),
            call: "cuModuleGetFunction",
            code,
        };
        let text = CString::new(name).map_err(|error| failed(error.to_string()))?;
        let mut raw = ptr::null_mut();
        // SAFETY: the module is loaded, the name is a C string, the pointer is to a live pointer.
        let result = unsafe { sys::cuModuleGetFunction(&raw mut raw, self.raw, text.as_ptr()) };
        match result {
            CUresult::CUDA_ERROR_NOT_FOUND => Err(failed(format!("no kernel '{name}'"))),
            result => self.context.check("cuModuleGetFunction", result),
        }?;
        Ok(Kernel {
            raw,
            _module: Arc::clone(self),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = self.context.enter();
        // SAFETY: the module is ours, and its kernels keep it.
        unsafe { sys::cuModuleUnload(self.raw) };
    }
}

impl Kernel {
    /// # Safety
    /// As [`super::Work::launch`]; what is used lives until the stream has passed.
    pub(super) unsafe fn launch(
        &self,
        stream: &Stream,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) -> CUresult {
        // The lower half of a word of this machine comes first, so each argument begins its word.
        let words: SmallVec<[u64; 16]> = arguments.iter().map(Argument::word).collect();
        let places = words.iter().map(ptr::from_ref);
        // SAFETY: what the caller promises; there is a pointer to a live word for each argument.
        unsafe { self.launch_at(stream, [grid, block], places) }
    }

    /// # Safety
    /// As [`super::Work::launch`]; there is a place for each of the kernel's arguments, where a value
    /// of its size is.
    pub(super) unsafe fn launch_at(
        &self,
        stream: &Stream,
        [[grid_x, grid_y, grid_z], [block_x, block_y, block_z]]: [[u32; 3]; 2],
        arguments: impl Iterator<Item = *const u64>,
    ) -> CUresult {
        // The driver takes pointers that it could write through, and only reads.
        let mut pointers: SmallVec<[*mut c_void; 16]> =
            arguments.map(|place| place.cast_mut().cast()).collect();
        // SAFETY: what the caller promises.
        unsafe {
            sys::cuLaunchKernel(
                self.raw,
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                0,
                stream.raw(),
                pointers.as_mut_ptr(),
                ptr::null_mut(),
            )
        }
    }
}

impl Argument {
    pub(super) fn span(&self) -> Option<&DeviceSpan> {
        match self {
            Self::Span(span) => Some(span),
            Self::U64(_) | Self::U32(_) | Self::F32(_) => None,
        }
    }

    fn word(&self) -> u64 {
        match self {
            Self::Span(span) => span.address(),
            Self::U64(value) => value.to_le(),
            Self::U32(value) => u64::from(*value).to_le(),
            Self::F32(value) => u64::from(value.to_bits()).to_le(),
        }
    }
}
