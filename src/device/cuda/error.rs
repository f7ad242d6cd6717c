//! What can go wrong on a device, and which of it is for good.

#![expect(
    unsafe_code,
    reason = "the driver is asked for the names of its errors"
)]

use std::{ffi::CStr, ptr};

use cudarc::driver::sys::{self, CUresult};

use crate::device::Device;

/// What a device has to say when it fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It has not so much memory left.
    #[error(
        "{device} is out of memory: {byte_size} bytes were asked for, and {free_byte_size} are free"
    )]
    OutOfMemory {
        /// Which device.
        device: Device,
        /// What was asked for.
        byte_size: usize,
        /// What the driver said was free right after; it may be in pieces.
        free_byte_size: usize,
    },
    /// It can no longer be used by this process: every later call fails as well.
    #[error("{device} is lost: {call} failed with {code}")]
    Lost {
        /// Which device.
        device: Device,
        /// The call that said so first.
        call: &'static str,
        /// The driver's name for the error.
        code: String,
    },
    /// It is not to be used any more, though its calls may still succeed.
    #[error("{device} is lost: {why}")]
    GivenUp {
        /// Which device.
        device: Device,
        /// Why, in one line.
        why: String,
    },
    /// One call failed.
    #[error("{call} failed on {device} with {code}")]
    Failed {
        /// Which device.
        device: Device,
        /// The driver's function.
        call: &'static str,
        /// The driver's name for the error.
        code: String,
    },
}

/// The name of the error, unless there is none.
pub(super) fn succeed(result: CUresult) -> Result<(), String> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        error => Err(name(error)),
    }
}

fn name(error: CUresult) -> String {
    let mut text = ptr::null();
    // SAFETY: the pointer is to a live pointer.
    let result = unsafe { sys::cuGetErrorName(error, &raw mut text) };
    if result != CUresult::CUDA_SUCCESS || text.is_null() {
        return format!("{error:?}");
    }
    // SAFETY: the driver answers with a string that lives as long as it does.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Whether the context cannot be used any more after that error, as the driver's documentation
/// says of each.
pub(super) fn is_sticky(error: CUresult) -> bool {
    use CUresult::{
        CUDA_ERROR_ASSERT, CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_DEVICE_UNAVAILABLE,
        CUDA_ERROR_ECC_UNCORRECTABLE, CUDA_ERROR_EXTERNAL_DEVICE, CUDA_ERROR_HARDWARE_STACK_ERROR,
        CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_ILLEGAL_INSTRUCTION,
        CUDA_ERROR_INVALID_ADDRESS_SPACE, CUDA_ERROR_INVALID_PC, CUDA_ERROR_LAUNCH_FAILED,
        CUDA_ERROR_LAUNCH_TIMEOUT, CUDA_ERROR_MISALIGNED_ADDRESS, CUDA_ERROR_NVLINK_UNCORRECTABLE,
        CUDA_ERROR_TENSOR_MEMORY_LEAK,
    };
    matches!(
        error,
        CUDA_ERROR_ASSERT
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_EXTERNAL_DEVICE
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_TENSOR_MEMORY_LEAK
    )
}
