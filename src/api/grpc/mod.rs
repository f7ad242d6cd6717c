//! The gRPC door: `inference.GRPCInferenceService` and `grpc.health.v1.Health`. Turns protocol
//! messages into requests and answers into messages; tensors stay slices of what was received.

mod contents;
mod control;
mod eager;
mod encoding;
mod exchange;
mod frames;
mod health;
mod held;
mod infer;
mod load;
mod reflection;
mod scan;
mod service;
mod settings;
mod shared_memory;
mod stream;
#[cfg(test)]
mod tests;
mod unary;

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tonic::{Extensions, body::Body, codegen::Service};

use self::{
    eager::{Arrivals, Eager},
    held::hold_back,
    reflection::Reflection,
};
pub use self::{frames::Frames, infer::read, unary::decode};
use super::{
    Api,
    admit::{Caller, Entrance},
    listener::{self, Ending, Farewell, InFlight, Port},
    status,
};
use crate::{
    admission::{Identity, Limits, Verb},
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
/// Bytes of a message other than `ModelInfer`, besides a configuration and model files in it.
const CONTROL_BYTE_SIZE: usize = 64 << 10;
/// How often an idle connection is asked whether its client is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// One door's state, shared by its two services.
#[derive(Clone, Debug)]
struct Door {
    api: Arc<Api>,
    at_management: bool,
}

impl Door {
    /// Who a call with these extensions comes from, as [`Services::respond`] found out.
    fn caller(&self, extensions: &Extensions) -> Caller {
        let identity = extensions.get().cloned().unwrap_or_default();
        let fields = extensions.get().cloned().unwrap_or_default();
        self.unknown(identity).with_fields(fields)
    }

    /// A caller of whom is known only whom its connection stands for.
    fn unknown(&self, identity: Identity) -> Caller {
        Caller::new(Arc::clone(&self.api), identity, Entrance::Grpc)
            .at_management(self.at_management)
    }
}

/// Serves gRPC at `port` until `shutdown`, then finishes the requests in flight and returns.
pub async fn serve(port: Port, api: Arc<Api>, shutdown: impl Future<Output = ()>) {
    let door = Door {
        api: Arc::clone(&api),
        at_management: port.is_for_management,
    };
    let services = Services::new(door.clone());
    // Connections of clients that are gone are found by keep-alive frames.
    let ending = Ending::new(Farewell::Frame, &api.limits);
    let connect = move |stream: TokioIo<_>, in_flight: InFlight, identity: Identity| {
        let (services, caller) = (services.clone(), door.unknown(identity));
        let service = service_fn(move |request| {
            let answer = services.respond(caller.clone(), request);
            in_flight.clone().count(answer)
        });
        let arrivals = Arrivals::default();
        let protocol = protocol(&api.limits, arrivals.clone());
        let (held, release) = hold_back(stream.into_inner());
        let connection = protocol.serve_connection(TokioIo::new(held), service);
        Eager::new(connection, arrivals, release)
    };
    listener::serve(port, ending, shutdown, connect).await;
}

/// HTTP/2 within `limits`, for tensors.
fn protocol(limits: &Limits, arrivals: Arrivals) -> http2::Builder<Arrivals> {
    let header_byte_size = u32::try_from(limits.header_byte_size).unwrap_or(u32::MAX);
    let mut http = http2::Builder::new(arrivals);
    http.timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTE_SIZE)
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(header_byte_size)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    http
}

/// The two services behind one port.
#[derive(Clone, Debug)]
struct Services {
    inference: GrpcInferenceServiceServer<Door>,
    health: HealthServer<Door>,
}

impl Services {
    fn new(door: Door) -> Self {
        // The generated services take memory for as much as a message claims to have, before it is
        // there; what may be large goes through `unary` and `load` instead.
        Self {
            inference: GrpcInferenceServiceServer::new(door.clone())
                .max_decoding_message_size(CONTROL_BYTE_SIZE)
                .max_encoding_message_size(unary::RESPONSE_BYTE_SIZE),
            health: HealthServer::new(door).max_decoding_message_size(CONTROL_BYTE_SIZE),
        }
    }

    fn respond(
        &self,
        mut caller: Caller,
        mut request: http::Request<Incoming>,
    ) -> BoxFuture<http::Response<Body>> {
        if let Err(error) = caller.identify(request.headers()) {
            return Box::pin(ready(status::grpc(&error).into_http()));
        }
        if *caller.identity() != Identity::Anonymous {
            request.extensions_mut().insert(caller.identity().clone());
        }
        if !caller.grpc_headers.is_empty() {
            request.extensions_mut().insert(caller.fields().clone());
        }
        match request.uri().path() {
            unary::MODEL_INFER => Box::pin(unary::model_infer(caller, request)),
            stream::MODEL_STREAM_INFER => {
                Box::pin(ready(stream::model_stream_infer(caller, request)))
            }
            load::MODEL_LOAD => Box::pin(load::model_load(caller, request)),
            path if path.starts_with("/grpc.health.v1.Health/") => {
                answer(self.health.clone(), request)
            }
            path if path.starts_with(reflection::PREFIX) => self.reflect(&caller, request),
            // Answers paths of no service with UNIMPLEMENTED.
            _ => answer(self.inference.clone(), request),
        }
    }
}

impl Services {
    /// What the services look like is told to who may see what the server is.
    fn reflect(
        &self,
        caller: &Caller,
        request: http::Request<Incoming>,
    ) -> BoxFuture<http::Response<Body>> {
        match (caller.admit(Verb::Metadata, ""), Reflection::get()) {
            (Err(error), _) => Box::pin(ready(status::grpc(&error).into_http())),
            (Ok(_), Some(reflection)) => reflection.respond(request),
            (Ok(_), None) => answer(self.inference.clone(), request),
        }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn answer<S>(mut service: S, request: http::Request<Incoming>) -> BoxFuture<http::Response<Body>>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let answered = service.call(request.map(Body::new));
    Box::pin(async {
        match answered.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
}
