//! The gRPC door: `inference.GRPCInferenceService` and `grpc.health.v1.Health`. Turns protocol
//! messages into requests and answers into messages; tensors stay slices of what was received.

mod contents;
mod control;
mod infer;
mod scan;
mod service;
#[cfg(test)]
mod tests;
mod unary;

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::net::TcpListener;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service},
    transport::{Server, server::TcpIncoming},
};

use super::Api;
use crate::{
    error::{Error, Result},
    proto::{
        health::health_server::HealthServer,
        inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    },
};

/// Bytes that a client may send ahead on one stream: a whole image tensor, without waiting.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes that a client may send ahead on one connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Large frames save headers and wake-ups.
const FRAME_BYTE_SIZE: u32 = 1 << 20;
/// Bytes of a message other than `ModelInfer`, besides a model configuration in it.
const CONTROL_BYTE_SIZE: usize = 64 << 10;
/// How often an idle connection is asked whether its client is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// One door's state, shared by its two services.
#[derive(Clone, Debug)]
struct Door(Arc<Api>);

/// Serves gRPC on `listener` until `shutdown`, then finishes the requests in flight and returns.
///
/// # Errors
/// `Internal` if the transport fails.
pub async fn serve(
    listener: TcpListener,
    api: Arc<Api>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let limits = &api.limits;
    let header_byte_size = u32::try_from(limits.header_byte_size).unwrap_or(u32::MAX);
    let door = Door(Arc::clone(&api));
    // The generated services take memory for as much as a message claims to have, before it is
    // there; what may be large goes through `unary` instead.
    let control_byte_size = limits.config_byte_size.saturating_add(CONTROL_BYTE_SIZE);
    let services = Services {
        inference: GrpcInferenceServiceServer::new(door.clone())
            .max_decoding_message_size(control_byte_size.min(limits.request_byte_size))
            .max_encoding_message_size(unary::RESPONSE_BYTE_SIZE),
        health: HealthServer::new(door.clone()).max_decoding_message_size(CONTROL_BYTE_SIZE),
        door,
    };
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTE_SIZE)
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(header_byte_size)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .serve_with_incoming_shutdown(
            services,
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown,
        )
        .await
        .map_err(|error| Error::internal("grpc_transport", error.to_string()).with_source(error))
}

/// The two services behind one port, and the one method that is answered without them.
#[derive(Clone, Debug)]
struct Services {
    inference: GrpcInferenceServiceServer<Door>,
    health: HealthServer<Door>,
    door: Door,
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            unary::MODEL_INFER => Box::pin(unary::model_infer(self.door.clone(), request)),
            path if path.starts_with("/grpc.health.v1.Health/") => self.health.call(request),
            // Answers paths of no service with UNIMPLEMENTED.
            _ => self.inference.call(request),
        }
    }
}
