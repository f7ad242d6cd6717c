//! The only place where an error becomes an HTTP or a gRPC status. The table is Triton's
//! (`HttpCodeFromError`, `CodeToStatus`) where Triton has the kind; a full queue, which Triton calls
//! "unavailable", is "too many requests" here, so that nobody takes the server for broken.

use hyper::StatusCode;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::error::{Error, ErrorKind};

/// The reason of an error that means "this body is larger than the limit".
pub(super) const TOO_LARGE: &str = "request_too_large";

/// The reason of an error that means "what was decompressed is larger than the limit", which Triton
/// calls a bad request.
pub(super) const EXPANDED: &str = "decompressed_too_large";

/// The metadata that tells gRPC clients when to try again (gRFC A6), in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Characters of a message in a gRPC status.
const MAX_MESSAGE: usize = 2048;

/// The HTTP status for `error`.
pub(super) fn http(error: &Error) -> StatusCode {
    match error.reason() {
        TOO_LARGE => return StatusCode::PAYLOAD_TOO_LARGE,
        EXPANDED => return StatusCode::BAD_REQUEST,
        _ => {}
    }
    match error.kind() {
        ErrorKind::AlreadyExists
        | ErrorKind::Cancelled
        | ErrorKind::FailedPrecondition
        | ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The gRPC status code for `kind`.
fn grpc_code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
    }
}

/// The gRPC status for `error`, with its message.
pub(super) fn grpc(error: &Error) -> Status {
    // The message travels in a header field, and clients refuse large ones.
    let message: String = error.message().chars().take(MAX_MESSAGE).collect();
    let mut status = Status::new(grpc_code(error.kind()), message);
    if let Some(wait) = error.retry_after() {
        let milliseconds = MetadataValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        status.metadata_mut().insert(PUSHBACK, milliseconds);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let table = [
            (ErrorKind::AlreadyExists, 400, Code::AlreadyExists),
            (ErrorKind::Cancelled, 400, Code::Cancelled),
            (ErrorKind::DeadlineExceeded, 504, Code::DeadlineExceeded),
            (ErrorKind::FailedPrecondition, 400, Code::FailedPrecondition),
            (ErrorKind::Internal, 500, Code::Internal),
            (ErrorKind::InvalidArgument, 400, Code::InvalidArgument),
            (ErrorKind::NotFound, 404, Code::NotFound),
            (ErrorKind::PermissionDenied, 403, Code::PermissionDenied),
            (ErrorKind::ResourceExhausted, 429, Code::ResourceExhausted),
            (ErrorKind::Unauthenticated, 401, Code::Unauthenticated),
            (ErrorKind::Unavailable, 503, Code::Unavailable),
            (ErrorKind::Unimplemented, 501, Code::Unimplemented),
        ];
        for (kind, status, code) in table {
            let error = Error::new(kind, "test", "why");
            assert_eq!(http(&error).as_u16(), status, "{kind:?}");
            assert_eq!(grpc(&error).code(), code, "{kind:?}");
            assert_eq!(grpc(&error).message(), "why");
        }
    }

    #[test]
    fn clients_are_told_when_to_come_again() {
        let wait = std::time::Duration::from_millis(1500);
        let error = Error::resource_exhausted("test", "why").with_retry_after(wait);
        let status = grpc(&error);
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "1500");
    }

    #[test]
    fn an_oversized_body_has_a_status_of_its_own() {
        let error = Error::resource_exhausted(TOO_LARGE, "too large");
        assert_eq!(http(&error), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(grpc(&error).code(), Code::ResourceExhausted);
    }
}
