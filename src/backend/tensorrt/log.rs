//! What TensorRT says: into our log, and its errors kept for the message of the call that failed.

use std::{
    ffi::{CStr, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

/// Errors that are kept, and of each so many bytes.
const KEPT: usize = 4;
const KEPT_BYTES: usize = 512;

/// Severities of `ILogger`, from the worst.
const ERROR: i32 = 1;
const WARNING: i32 = 2;

/// The errors of one runtime since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<String>>);

impl Log {
    /// What went wrong, in one line, and forgets it.
    pub(super) fn take(&self) -> String {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *errors) {
            errors if errors.is_empty() => "TensorRT does not say why".to_owned(),
            errors => errors.join("; "),
        }
    }

    fn write(&self, severity: i32, message: &str) {
        match severity {
            ..=ERROR => {
                tracing::error!("TensorRT: {message}");
                let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if errors.len() < KEPT {
                    errors.push(shortened(message));
                }
            }
            WARNING => tracing::warn!("TensorRT: {message}"),
            _ => tracing::debug!("TensorRT: {message}"),
        }
    }
}

/// One line, and not too long.
pub(super) fn shortened(message: &str) -> String {
    let line: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    line[..line.floor_char_boundary(KEPT_BYTES)].to_owned()
}

/// The shim's callback; `user` is a [`Log`] that outlives the runtime.
pub(super) unsafe extern "C" fn write(user: *mut c_void, severity: i32, message: *const c_char) {
    // SAFETY: the runtime was made with a `Log` that lives as long as it.
    let Some(log) = (unsafe { user.cast::<Log>().as_ref() }) else {
        return;
    };
    // SAFETY: the shim passes no null, and TensorRT says that it is a string.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    // A panic must not go through C++; there is nobody to tell of it.
    let _ = catch_unwind(AssertUnwindSafe(|| log.write(severity, &text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_kept_once_in_one_line_and_bounded() {
        let log = Log::default();
        log.write(2, "only a warning");
        assert_eq!(log.take(), "TensorRT does not say why");
        log.write(1, "first\nline \n");
        log.write(0, "second");
        assert_eq!(log.take(), "first line; second");
        let long = "é".repeat(KEPT_BYTES);
        for _ in 0..10 {
            log.write(1, &long);
        }
        assert!(log.take().len() <= KEPT * (KEPT_BYTES + 2));
        assert_eq!(log.take(), "TensorRT does not say why");
    }
}
