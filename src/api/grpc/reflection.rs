//! `grpc.reflection`: what the services look like, for tools such as grpcurl.

use std::sync::{Arc, LazyLock};

use hyper::body::Incoming;
use tonic::body::Body;
use tonic_reflection::server::Builder;

use super::{BoxFuture, answer};
use crate::proto::DESCRIPTORS;

/// Made when it is first asked for: it holds every descriptor twice, 6 MB, and few ever ask.
static REFLECTION: LazyLock<Option<Reflection>> = LazyLock::new(Reflection::new);

/// Both versions of the service.
pub(super) struct Reflection {
    v1: Service,
    v1alpha: Service,
}

type Service =
    Arc<dyn Fn(http::Request<Incoming>) -> BoxFuture<http::Response<Body>> + Send + Sync>;

/// Where its methods are.
pub(super) const PREFIX: &str = "/grpc.reflection.";

impl Reflection {
    /// Reflection of every service in `proto/`; `None` if the descriptors are malformed, which they
    /// are not.
    pub(super) fn get() -> Option<&'static Self> {
        REFLECTION.as_ref()
    }

    fn new() -> Option<Self> {
        let described = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        };
        let v1 = described().build_v1().ok()?;
        let v1alpha = described().build_v1alpha().ok()?;
        Some(Self {
            v1: Arc::new(move |request| answer(v1.clone(), request)),
            v1alpha: Arc::new(move |request| answer(v1alpha.clone(), request)),
        })
    }

    /// Answers a call of either version.
    pub(super) fn respond(
        &self,
        request: http::Request<Incoming>,
    ) -> BoxFuture<http::Response<Body>> {
        if request
            .uri()
            .path()
            .starts_with("/grpc.reflection.v1alpha.")
        {
            (self.v1alpha)(request)
        } else {
            (self.v1)(request)
        }
    }
}
