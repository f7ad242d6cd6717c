//! The one error that crosses rooms. Rooms keep their own `thiserror` enums and convert at their
//! door; only `api::status` turns an [`ErrorKind`] into an HTTP or gRPC status.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

/// What went wrong, coarsely: decides the status code a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Something of that name is there already.
    AlreadyExists,
    /// The client went away or withdrew the request.
    Cancelled,
    /// The request's own time limit passed.
    DeadlineExceeded,
    /// The system is in a state that forbids the call.
    FailedPrecondition,
    /// A bug or a broken environment; not the client's fault.
    Internal,
    /// The request is wrong and will stay wrong.
    InvalidArgument,
    /// No such model, version, region or route.
    NotFound,
    /// The caller may not do this.
    PermissionDenied,
    /// A limit of the server is reached; try later or smaller.
    ResourceExhausted,
    /// The caller did not say who it is.
    Unauthenticated,
    /// Not now: loading, unloading or shutting down.
    Unavailable,
    /// Not supported by this server, model or backend.
    Unimplemented,
}

/// A cheaply cloned error: one failure can answer every request of a batch.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
            pub fn $name(reason: &'static str, message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, reason, message)
            }
        )*
    };
}

impl Error {
    /// `reason` is a static key that is safe as a metric label; `message` is safe to show clients.
    pub fn new(kind: ErrorKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            reason,
            message: message.into(),
            retry_after: None,
            source: None,
        }))
    }

    constructors! {
        already_exists => AlreadyExists,
        cancelled => Cancelled,
        deadline_exceeded => DeadlineExceeded,
        failed_precondition => FailedPrecondition,
        internal => Internal,
        invalid_argument => InvalidArgument,
        not_found => NotFound,
        permission_denied => PermissionDenied,
        resource_exhausted => ResourceExhausted,
        unauthenticated => Unauthenticated,
        unavailable => Unavailable,
        unimplemented => Unimplemented,
    }

    /// Attaches a cause for operators (logs); clients never see it.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            reason: self.0.reason,
            message: self.0.message.clone(),
            retry_after: self.0.retry_after,
            source: Some(source.into()),
        }))
    }

    /// Says when the same call may succeed. Drops a cause that was attached before.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            reason: self.0.reason,
            message: self.0.message.clone(),
            retry_after: Some(wait),
            source: None,
        }))
    }

    /// The same error with `prefix` before its message.
    #[must_use]
    pub fn prefixed(&self, prefix: impl fmt::Display) -> Self {
        Self::new(
            self.0.kind,
            self.0.reason,
            format!("{prefix}{}", self.0.message),
        )
    }

    /// The coarse kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// A static key, safe as a metric label.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// How long to wait before the same call may succeed, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The text for clients.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
