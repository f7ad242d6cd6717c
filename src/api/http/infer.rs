//! `POST .../infer`: from the body to the model and back.

use hyper::{HeaderMap, Response, body::Incoming};

use super::{
    answer,
    binary::{bind_tensors, json_length, raw_request, split_body},
    encoding,
    json::parsed_byte_size,
    json_response::{Heading, write},
};
use crate::{
    api::{
        admit::Admitted,
        body::{self, Chunks},
        long_work,
        trace::{self, Watched},
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
    let encoded = encoding::of_request(headers)?;
    let json_length = json_length(headers)?;
    // An unknown model is refused before its body is read, but a client that sends slowly must
    // not keep a known one from being unloaded: this lease is given back at once.
    drop(resolve(api, version)?);
    let mut watched = Watched::new(&trace::HTTP, api);
    watched.begin(api);
    let mut charge = api.budget.charge();
    let limit = api.limits.request_byte_size;
    let body = body::read(body, limit, &api.patience(), &mut charge).await?;
    watched.received();
    let body = encoding::decode(encoded, body, api, &mut charge).await?;
    let (lease, mut request);
    if json_length == Some(0) {
        raw_within(body.len(), api.limits.json_byte_size)?;
        lease = resolve(api, version)?;
        request = raw_request(lease.config(), body)?;
    } else {
        let (json, tensors) = split_body(body, json_length)?;
        charge.grow(parsed_byte_size(json.len()))?;
        let document = long_work::on_bytes(json.len(), || api.json.parse(&json))?;
        lease = resolve(api, version)?;
        request = bind_tensors(document, tensors, api.model())?;
    }
    request.trace = watched.trace();
    let formats = std::mem::take(&mut request.formats);
    let id = request.id.clone();
    let (response, stored) = request.run(api, &lease).await?;
    let heading = Heading {
        id: &id,
        model: lease.name(),
        version: lease.version(),
    };
    let limit = api.limits.response_byte_size;
    let outputs = response.outputs.iter().enumerate();
    let json_outputs = outputs.filter(|&(index, _)| !formats.is_binary(index));
    let json_byte_size = json_outputs
        .map(|(_, output)| output.tensor.data.byte_size())
        .sum();
    let written = long_work::on_bytes(json_byte_size, || {
        write(heading, &response, &formats, &stored, limit)
    })?;
    let mut answer = answer::tensors(written.json, written.tensors);
    if let Some(encoding) = encoding::wanted(headers) {
        answer = Box::pin(encoding::encode(encoding, answer, &api.compressions)).await;
    }
    answer.body_mut().hold(charge)?;
    watched.send(answer.body_mut());
    Ok(answer)
}

/// In Triton's words.
fn raw_within(actual: usize, limit: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::invalid_argument(
        "raw_request_too_large",
        format!(
            "Raw input has a byte_size ({actual} bytes) that exceeds the maximum allowed value of \
             {limit} bytes. Use --http-max-input-size to increase the limit."
        ),
    ))
}

fn resolve(api: &Admitted<'_>, version: Option<u64>) -> Result<Lease> {
    api.resolve_unary(version, "HTTP end point")
}
