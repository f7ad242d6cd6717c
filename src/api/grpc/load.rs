//! `RepositoryModelLoad` on the wire. Model files may come with it, so it is read like an inference
//! request: memory grows with what arrives, and files stay slices of the received message.

use std::pin::pin;

use bytes::Bytes;
use hyper::{HeaderMap, body::Body as HttpBody};
use prost::Message;
use tonic::body::Body;

use super::{
    CONTROL_BYTE_SIZE, control,
    encoding::Answer,
    scan::check_load_counts,
    unary::{call, malformed, read, time_limit},
};
use crate::{
    admission::{Limits, Verb},
    api::{
        admit::Caller,
        body::{BoxError, Chunks},
    },
    error::Result,
    proto::inference as pb,
};

/// The method's path.
pub(super) const MODEL_LOAD: &str = "/inference.GRPCInferenceService/RepositoryModelLoad";

/// An empty message with its prefix.
const EMPTY: Bytes = Bytes::from_static(&[0; 5]);

/// Answers one call when the model is ready, within the time that the client gives it.
pub(super) async fn model_load<B>(caller: Caller, request: http::Request<B>) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (parts, body) = request.into_parts();
    let limit = time_limit(&parts.headers);
    let answer = pin!(answer(&caller, &parts.headers, body));
    call("RepositoryModelLoad", limit, answer).await
}

async fn answer<B>(caller: &Caller, headers: &HeaderMap, body: B) -> Result<Answer>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    caller.check(Verb::Load)?;
    // Held until the model is loaded: the files are slices of the message.
    let mut charge = caller.budget.charge();
    let limit = load_byte_size(&caller.limits);
    let message = read(caller, headers, body, limit, &mut charge).await?;
    let request = decode(message, &caller.limits)?;
    control::load(caller, request).await?;
    Ok(Answer::plain(Chunks::new([EMPTY])))
}

fn load_byte_size(limits: &Limits) -> usize {
    CONTROL_BYTE_SIZE
        .saturating_add(limits.config_byte_size)
        .saturating_add(limits.load_file_byte_size)
        .min(limits.request_byte_size)
}

fn decode(message: Bytes, limits: &Limits) -> Result<pb::RepositoryModelLoadRequest> {
    // A parameter may take two bytes on the wire, and a hundred times that once it is decoded.
    check_load_counts(&message, limits)?;
    pb::RepositoryModelLoadRequest::decode(message).map_err(|error| malformed(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with so many empty parameters.
    fn message(parameter_count: usize) -> Bytes {
        [0x1a, 0].repeat(parameter_count).into()
    }

    #[test]
    fn parameters_are_counted_before_they_are_decoded() {
        let limits = Limits {
            parameters: 2,
            ..Limits::default()
        };
        assert!(decode(message(2), &limits).is_ok());
        let error = decode(message(3), &limits).unwrap_err();
        assert!(error.message().contains("limit of 2"), "{error}");
    }

    #[test]
    fn files_stay_where_they_were_received() {
        let parameter = pb::ModelRepositoryParameter {
            parameter_choice: Some(pb::model_repository_parameter::ParameterChoice::BytesParam(
                "weights".into(),
            )),
        };
        let request = pb::RepositoryModelLoadRequest {
            parameters: [("file:1/m".to_owned(), parameter)].into(),
            ..Default::default()
        };
        let message = Bytes::from(request.encode_to_vec());
        let decoded = decode(message.clone(), &Limits::default()).unwrap();
        assert_eq!(decoded, request);
        let Some(pb::model_repository_parameter::ParameterChoice::BytesParam(file)) =
            &decoded.parameters["file:1/m"].parameter_choice
        else {
            panic!("not a file")
        };
        assert!(message.as_ptr_range().contains(&file.as_ptr()));
    }
}
