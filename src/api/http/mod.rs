//! The HTTP door: KServe v2's REST API on HTTP/1.1. Routes, reads bodies within their limits, and
//! writes answers; what is answered comes from the rooms below.

pub(super) mod answer;
mod binary;
mod decimal;
mod decimal_batch;
mod elements;
mod encoding;
mod floats;
mod generate;
mod generate_json;
mod generate_object;
mod infer;
mod json;
mod json_response;
mod json_tensor;
mod memo;
mod metadata;
mod openapi;
mod probes;
mod reader;
mod repository;
mod route;
mod settings;
mod shared_memory;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Instant};

use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{CONNECTION, EXPECT, HeaderValue},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};

#[cfg(test)]
pub(super) use self::openapi::rows;
use self::{
    answer::Reply,
    route::{Aspect, RegionVerb, Route},
};
pub use self::{
    binary::{bind_tensors, split_body},
    generate_json::parse_generate_request,
    json::{InferDocument, parse_infer_request},
    memo::Memo,
};
use super::{
    Api,
    admit::{Admitted, Caller, Entrance},
    body::Chunks,
    listener::{self, Ending, Farewell, InFlight, Port},
};
use crate::{
    admission::{Identity, Limits},
    error::Result,
};

/// The most that is read ahead on a connection, which stays in its buffer. A body that comes in more
/// pieces is copied into one.
const READ_BUFFER_BYTE_SIZE: usize = 128 << 10;
/// The smallest header limit that the HTTP implementation can keep.
const LEAST_HEADER_BYTE_SIZE: usize = 1024;

/// Serves HTTP at `port` until `shutdown`, then finishes the requests in flight and returns.
pub async fn serve(port: Port, api: Arc<Api>, shutdown: impl Future<Output = ()>) {
    let (protocol, ending) = (protocol(&api.limits), ending(&api.limits));
    let at_management = port.is_for_management;
    let connect = move |stream, in_flight: InFlight, identity: Identity| {
        let caller = Caller::new(Arc::clone(&api), identity, Entrance::Http);
        let caller = caller.at_management(at_management);
        // Boxed: it is large, and would be moved several times.
        let service = service_fn(move |request| {
            let answered = Box::pin(respond(caller.clone(), request));
            in_flight.clone().count(answered)
        });
        protocol.serve_connection(stream, service)
    };
    listener::serve(port, ending, shutdown, connect).await;
}

/// How connections of HTTP/1.1 end, within `limits`.
pub(super) fn ending(limits: &Limits) -> Ending {
    Ending::new(Farewell::Header, limits)
}

/// HTTP/1.1 within `limits`.
pub(super) fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    let header_byte_size = limits.header_byte_size.max(LEAST_HEADER_BYTE_SIZE);
    http.header_read_timeout(None)
        .max_buf_size(header_byte_size.max(READ_BUFFER_BYTE_SIZE))
        .max_header_size(header_byte_size);
    http
}

/// Answers one request. Dropping the future cancels the inference that it may be waiting for.
async fn respond(mut caller: Caller, request: Request<Incoming>) -> Response<Reply> {
    let started = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
    let (parts, mut body) = request.into_parts();
    let mut response = dispatch(&mut caller, &parts, &mut body)
        .await
        .unwrap_or_else(|error| answer::error(&error).map(Reply::Whole));
    if !body.is_end_stream() && !discard(&caller, &parts, &mut body).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if let Some(started) = started {
        log_access(&parts, &response, started);
    }
    response
}

/// Takes in what a client still sends although its answer is there: it would not read the answer
/// before, and then send its next request into a connection that is being closed. False if the
/// connection has to be closed after all.
async fn discard(api: &Api, parts: &Parts, body: &mut Incoming) -> bool {
    let limit = api.limits.request_byte_size;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // To read the body of a client that waits for a `100 Continue` would be to ask for it.
    let is_coming = announced <= limit && !parts.headers.contains_key(EXPECT);
    is_coming && api.patience().discard(body, limit).await
}

async fn dispatch(
    caller: &mut Caller,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<Response<Reply>> {
    caller.identify(&parts.headers)?;
    let Some(route) = Route::new(parts.uri.path())? else {
        return Ok(answer::fault(StatusCode::NOT_FOUND, "Not Found").map(Reply::Whole));
    };
    if !route.allows(&parts.method) {
        let refusal = answer::method_not_allowed(route.methods());
        return Ok(refusal.map(Reply::Whole));
    }
    let api = caller.admit(route.verb(), route.model())?;
    if let Route::Model {
        version,
        aspect: Aspect::GenerateStream,
        ..
    } = route
    {
        // On the heap, for it would make the future of every other request larger.
        let stream = generate::stream(caller, api, version, &parts.headers, body);
        return Box::pin(stream).await;
    }
    let whole = answer_whole(caller, api, &route, parts, body).await;
    whole.map(|response| response.map(Reply::Whole))
}

async fn answer_whole(
    caller: &Caller,
    admitted: Admitted<'_>,
    route: &Route<'_>,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    let api = &admitted;
    match *route {
        Route::Model {
            version, aspect, ..
        } => match aspect {
            Aspect::Infer => infer::infer(api, version, &parts.headers, body).await,
            Aspect::Generate | Aspect::GenerateStream => {
                let whole = generate::whole(caller, admitted, version, &parts.headers, body);
                Box::pin(whole).await
            }
            Aspect::Ready => metadata::model_ready(api, route.model(), version),
            Aspect::Metadata => metadata::model(api, version),
            Aspect::Config => metadata::config(api, version),
            Aspect::Statistics => metadata::statistics(api, version),
        },
        Route::Description => Ok(openapi::document()),
        Route::ServerMetadata => Ok(metadata::server(api)),
        Route::Probe(probe) => Ok(probes::probe(api, probe)),
        Route::Live => metadata::live(api),
        Route::Ready => metadata::ready(api),
        Route::AllStatistics => metadata::statistics(api, None),
        Route::Index => repository::index(api, body).await,
        Route::Load(_) => repository::load(api, body).await,
        Route::Unload(_) => repository::unload(api, body).await,
        Route::Region {
            kind,
            ref name,
            verb,
        } => {
            let name = name.as_deref();
            match verb {
                RegionVerb::Status => shared_memory::status(api, kind, name),
                RegionVerb::Register => shared_memory::register(api, kind, name, body).await,
                RegionVerb::Unregister => shared_memory::unregister(api, kind, name),
            }
        }
        Route::Trace(_) => settings::trace(api, &parts.method, body).await,
        Route::Logging => settings::logging(api, &parts.method, body).await,
        Route::NamedRepository => Err(super::describe::named_repository()),
    }
}

/// One line a request. What clients wrote goes in as fields, which the log escapes.
fn log_access(parts: &Parts, response: &Response<Reply>, started: Instant) {
    let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(
        method = %parts.method,
        path = ?parts.uri.path(),
        status = response.status().as_u16(),
        microseconds,
        bytes = response.body().byte_size(),
        "http"
    );
}
