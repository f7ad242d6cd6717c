//! Libraries of plugins, which only the operator names: whoever reads or builds plans loads them first.

use std::{
    ffi::{CStr, CString},
    path::Path,
};

use super::log::Log;
use crate::backend::BackendError;

/// Has `load` load the library at `path`.
///
/// # Errors
/// `Unavailable` if it cannot be, with what TensorRT says to `log`.
pub(super) fn load(
    path: &Path,
    log: &Log,
    load: impl FnOnce(&CStr) -> bool,
) -> Result<(), BackendError> {
    let unusable = |why: String| {
        BackendError::Unavailable(format!(
            "plugins in {} cannot be loaded: {why}",
            path.display()
        ))
    };
    let text = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|error| unusable(error.to_string()))?;
    match load(&text) {
        true => Ok(()),
        false => Err(unusable(log.take())),
    }
}
