//! Result codes of the driver, with their names.

use std::ffi::{CStr, c_int};

/// What a function of the driver (or of NVML, which has its own numbers) answers if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub c_int);

/// What an exported function returns for `result`.
pub(crate) fn of(result: Result<(), Code>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(Code(code)) => code,
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal,)*) => {
        impl Code {
            $(
                #[doc = concat!("`CUDA_ERROR_", stringify!($name), "`.")]
                pub const $name: Self = Self($number);
            )*

            /// `CUDA_ERROR_…`, or `None` for a number that is not known.
            pub(crate) fn name(self) -> Option<&'static CStr> {
                let name = match self.0 {
                    0 => "CUDA_SUCCESS\0",
                    $($number => concat!("CUDA_ERROR_", stringify!($name), "\0"),)*
                    _ => return None,
                };
                CStr::from_bytes_with_nul(name.as_bytes()).ok()
            }
        }
    };
}

codes! {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    ECC_UNCORRECTABLE = 214,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    PEER_ACCESS_ALREADY_ENABLED = 704,
    LAUNCH_FAILED = 719,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_UNMATCHED = 903,
    STREAM_CAPTURE_UNJOINED = 904,
    UNKNOWN = 999,
}
