//! One question and its answer, over HTTP/1.1 or gRPC. Decides what an answer means.

use std::{io, pin::Pin, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST, TE},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Health, Protocol, Target};
use crate::{
    perf::unverified,
    proto::health::{HealthCheckResponse, health_check_response::ServingStatus},
};

/// Bytes that are read of an answer; what names 32 models fits.
const ANSWER_BYTE_LIMIT: usize = 64 << 10;
/// A gRPC message without a byte: not compressed, of length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Connects, asks, and reads the answer.
///
/// # Errors
/// If there is no connection, or no answer that says anything.
pub(super) async fn ask(target: &Target) -> Result<Health> {
    let io = TokioIo::new(connect(target).await?);
    match &target.protocol {
        Protocol::Http(path) => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            let request = http_request(target, path)?;
            http_health(sender.send_request(request).await?).await
        }
        Protocol::Grpc => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            let request = grpc_request(target)?;
            grpc_health(sender.send_request(request).await?).await
        }
    }
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

async fn connect(target: &Target) -> Result<Pin<Box<dyn Stream>>> {
    let stream = TcpStream::connect((target.host(), target.port)).await?;
    if !target.is_encrypted {
        return Ok(Box::pin(stream));
    }
    let alpn: &[u8] = match target.protocol {
        Protocol::Http(_) => b"http/1.1",
        Protocol::Grpc => b"h2",
    };
    let name = ServerName::try_from(target.host().to_owned())?;
    let config = unverified(alpn)?;
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::pin(encrypted.await.context("no TLS")?))
}

fn http_request(target: &Target, path: &PathAndQuery) -> Result<Request<Full<Bytes>>> {
    let request = Request::get(path.as_str()).header(HOST, target.authority.as_str());
    Ok(request.body(Full::default())?)
}

fn grpc_request(target: &Target) -> Result<Request<Full<Bytes>>> {
    let scheme = if target.is_encrypted { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{}{CHECK}", target.authority))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers");
    Ok(request.body(Full::new(Bytes::from_static(EMPTY_MESSAGE)))?)
}

/// 200 is yes and 503 is no; of any other status it is not known what it is about.
async fn http_health(response: Response<Incoming>) -> Result<Health> {
    let status = response.status();
    let (body, _) = read(response.into_body()).await?;
    let is_ready = match status {
        StatusCode::OK => true,
        // Triton's health routes say no with 400.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_REQUEST => false,
        other => bail!("it answered {other}"),
    };
    let words = String::from_utf8_lossy(&body).trim().to_owned();
    let words = if words.is_empty() {
        status.to_string()
    } else {
        words
    };
    Ok(Health { is_ready, words })
}

async fn grpc_health(response: Response<Incoming>) -> Result<Health> {
    let status = response.status();
    if status != StatusCode::OK {
        bail!("it answered {status}, and does not speak gRPC");
    }
    let early = response.headers().clone();
    let (body, trailers) = read(response.into_body()).await?;
    check_grpc_status(trailers.as_ref().unwrap_or(&early))?;
    serving(body)
}

fn check_grpc_status(trailers: &HeaderMap) -> Result<()> {
    let text = |name| trailers.get(name).map(HeaderValue::as_bytes);
    match text("grpc-status") {
        Some(b"0") => Ok(()),
        Some(code) => Err(anyhow!(
            "it answered with gRPC status {}: {}",
            String::from_utf8_lossy(code),
            String::from_utf8_lossy(text("grpc-message").unwrap_or_default())
        )),
        None => Err(anyhow!("its answer has no gRPC status")),
    }
}

/// What the one message of an answer says.
fn serving(mut body: Bytes) -> Result<Health> {
    if body.len() < EMPTY_MESSAGE.len() || body.get_u8() != 0 {
        bail!("its answer has no message that was asked for");
    }
    let length = usize::try_from(body.get_u32())?;
    if length != body.len() {
        bail!(
            "its answer has a message of {length} bytes, of which {} came",
            body.len()
        );
    }
    let status = HealthCheckResponse::decode(body)?.status();
    Ok(Health {
        is_ready: status == ServingStatus::Serving,
        words: status.as_str_name().to_owned(),
    })
}

async fn read(body: Incoming) -> Result<(Bytes, Option<HeaderMap>)> {
    let whole = Limited::new(body, ANSWER_BYTE_LIMIT).collect().await;
    let whole = whole.map_err(|error| io::Error::other(error.to_string()))?;
    let trailers = whole.trailers().cloned();
    Ok((whole.to_bytes(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Bytes {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[0], &length[..], bytes].concat().into()
    }

    #[test]
    fn a_message_says_whether_the_server_serves() {
        for (status, is_ready) in [
            (ServingStatus::Serving, true),
            (ServingStatus::NotServing, false),
            (ServingStatus::Unknown, false),
        ] {
            let response = HealthCheckResponse {
                status: status.into(),
            };
            let health = serving(message(&response.encode_to_vec())).unwrap();
            assert_eq!(health.is_ready, is_ready, "{status:?}");
            assert_eq!(health.words, status.as_str_name());
        }
    }

    #[test]
    fn what_is_no_such_message_says_nothing() {
        let compressed = Bytes::from_static(&[1, 0, 0, 0, 0]);
        let cut = message(&[8, 1]).slice(..6);
        for body in [Bytes::new(), compressed, cut, message(&[0xff])] {
            assert!(serving(body.clone()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_failure_is_told_with_its_code_and_message() {
        let mut trailers = HeaderMap::new();
        assert!(check_grpc_status(&trailers).is_err());
        trailers.insert("grpc-status", HeaderValue::from_static("16"));
        trailers.insert("grpc-message", HeaderValue::from_static("who are you"));
        let error = check_grpc_status(&trailers).unwrap_err().to_string();
        assert!(error.ends_with("status 16: who are you"), "{error}");
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(check_grpc_status(&trailers).is_ok());
    }
}
