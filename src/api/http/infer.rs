//! `POST .../infer`: from the body to the model and back.

use hyper::{HeaderMap, Response, body::Incoming, header::CONTENT_ENCODING};

use super::{
    answer::{self, ENCODING},
    binary::{bind_tensors, json_length, raw_request, split_body},
    json::parse_infer_request,
    json_response::{Heading, write},
};
use crate::{
    api::{
        admit::Admitted,
        body::{self, Chunks},
        request::within,
    },
    error::{Error, Result},
    model::Lease,
};

/// Answers an inference request. Dropping the future cancels it.
pub(super) async fn infer(
    api: &Admitted<'_>,
    version: Option<u64>,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    refuse_encodings(headers)?;
    let json_length = json_length(headers)?;
    // An unknown model is refused before its body is read, but a client that sends slowly must
    // not keep a known one from being unloaded: this lease is given back at once.
    drop(resolve(api, version)?);
    let body = body::read(body, api.limits.request_byte_size, &api.patience()).await?;
    let (lease, mut request);
    if json_length == Some(0) {
        within(
            "length of a raw request",
            body.len(),
            api.limits.json_byte_size,
        )?;
        lease = resolve(api, version)?;
        request = raw_request(lease.config(), body)?;
    } else {
        let (json, tensors) = split_body(body, json_length)?;
        let document = parse_infer_request(&json, &api.limits)?;
        lease = resolve(api, version)?;
        request = bind_tensors(document, tensors, api.model())?;
    }
    let formats = std::mem::take(&mut request.formats);
    let id = request.id.clone();
    let (response, stored) = request.run(api, &lease).await?;
    let heading = Heading {
        id: &id,
        model: lease.name(),
        version: lease.version(),
    };
    let written = write(heading, &response, &formats, &stored)?;
    Ok(answer::tensors(written.json, written.tensors))
}

fn resolve(api: &Admitted<'_>, version: Option<u64>) -> Result<Lease> {
    api.resolve_unary(version, "HTTP end point")
}

/// # Errors
/// `Unimplemented` for a compressed body.
fn refuse_encodings(headers: &HeaderMap) -> Result<()> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(Error::unimplemented(
            ENCODING,
            "request bodies with a Content-Encoding are not supported by this server",
        )),
        _ => Ok(()),
    }
}
