//! `Content-Encoding` and `Accept-Encoding` of an inference request.

use bytes::Bytes;
use hyper::{
    HeaderMap, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue},
};

use super::answer::ENCODING;
use crate::{
    admission::Charge,
    api::{
        Api,
        body::Chunks,
        compression::{Encoding, Level, Places},
        excerpt,
    },
    error::{Error, Result},
};

/// How a request's body is encoded; `None` if it is not.
///
/// # Errors
/// `Unimplemented` for other encodings than gzip and deflate, and for more than one.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let value = match values.next() {
        Some(value) if !value.is_empty() => value,
        // As Triton does: some proxies leave the field and take its value.
        _ => return Ok(None),
    };
    let name = value.to_str().unwrap_or_default().trim();
    if values.next().is_some() || name.contains(',') {
        return Err(unsupported("more than one Content-Encoding is"));
    }
    match Encoding::named(name) {
        Some(encoding) => Ok(Some(encoding)),
        None if name.eq_ignore_ascii_case("identity") => Ok(None),
        None => Err(unsupported(&format!(
            "Content-Encoding '{}' is",
            excerpt(name)
        ))),
    }
}

fn unsupported(what: &str) -> Error {
    Error::unimplemented(
        ENCODING,
        format!("{what} not supported, use one of {}", Encoding::NAMES),
    )
}

/// The encoding that the client likes best of those there are; `None` if it is none. Of equals the
/// one that compresses. What is malformed does not count.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Encoding> {
    let mut best = None;
    let mut best_quality = 0.0;
    let mut plain_quality = None;
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    for element in values.flat_map(|value| value.to_str().unwrap_or_default().split(',')) {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let Some(quality) = quality(parts.next()) else {
            continue;
        };
        match Encoding::named(name) {
            Some(encoding) if quality > best_quality => {
                best = Some(encoding);
                best_quality = quality;
            }
            Some(_) => {}
            None if name.eq_ignore_ascii_case("identity") => plain_quality = Some(quality),
            None => {}
        }
    }
    best.filter(|_| plain_quality.is_none_or(|plain| best_quality >= plain))
}

/// What `q=` says, between 0 and 1; 1 without it.
fn quality(parameter: Option<&str>) -> Option<f32> {
    let Some(parameter) = parameter else {
        return Some(1.0);
    };
    let (key, value) = parameter.split_once('=')?;
    let quality = value.trim().parse().ok()?;
    let is_quality = key.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&quality);
    is_quality.then_some(quality)
}

/// `answer` in an encoding; as it is if that fails, as in Triton.
pub(super) async fn encode(
    encoding: Encoding,
    answer: Response<Chunks>,
    places: &Places,
) -> Response<Chunks> {
    let (mut parts, body) = answer.into_parts();
    match encoding.compress(body.share(), Level::fast(), places).await {
        Ok(compressed) => {
            let name = HeaderValue::from_static(encoding.name());
            parts.headers.insert(CONTENT_ENCODING, name);
            Response::from_parts(parts, Chunks::from(compressed))
        }
        Err(error) => {
            tracing::warn!(%error, "an answer is sent as it is");
            Response::from_parts(parts, body)
        }
    }
}

/// The body as it was before it was encoded.
///
/// # Errors
/// As [`Encoding::decompress`].
pub(super) async fn decode(
    encoding: Option<Encoding>,
    body: Bytes,
    api: &Api,
    charge: &mut Charge,
) -> Result<Bytes> {
    match encoding {
        None => Ok(body),
        Some(encoding) => {
            let (limits, places) = (&api.limits, &api.compressions);
            // On the heap, for it would make the future of every other request larger.
            Box::pin(encoding.decompress(body, limits, places, charge)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn headers(name: hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| (name.clone(), value.parse().unwrap()));
        values.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn a_request_has_one_encoding_at_most() {
        let read = |values: &[&str]| of_request(&headers(CONTENT_ENCODING, values));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["identity"]).unwrap(), None);
        assert_eq!(read(&[""]).unwrap(), None);
        assert_eq!(read(&["gzip"]).unwrap(), Some(Encoding::Gzip));
        assert_eq!(read(&[" Deflate "]).unwrap(), Some(Encoding::Deflate));
        for bad in [
            &["br"][..],
            &["gzip, deflate"],
            &["gzip", "gzip"],
            &["gzip,"],
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(
                (error.kind(), error.reason()),
                (ErrorKind::Unimplemented, ENCODING)
            );
            assert!(
                error.message().ends_with("use one of gzip, deflate"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_answer_has_the_encoding_that_is_liked_best() {
        let table = [
            (&[][..], None),
            (&["gzip"][..], Some(Encoding::Gzip)),
            (&["deflate"], Some(Encoding::Deflate)),
            (&["gzip, deflate"], Some(Encoding::Gzip)),
            (&["deflate, gzip"], Some(Encoding::Deflate)),
            (&["gzip;q=0.4, deflate;q=0.8"], Some(Encoding::Deflate)),
            (&["gzip;q=0.4", "deflate; Q = 0.8"], Some(Encoding::Deflate)),
            (&["gzip;q=0.4, identity;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Encoding::Gzip)),
            (&["identity, gzip;q=0"], None),
            (&["gzip;q=0"], None),
            (&["*"], None),
            (&["br"], None),
            (&["identity"], None),
            (&["br, gzip;q=0.1"], Some(Encoding::Gzip)),
        ];
        for (values, want) in table {
            assert_eq!(
                wanted(&headers(ACCEPT_ENCODING, values)),
                want,
                "{values:?}"
            );
        }
    }

    #[test]
    fn malformed_preferences_do_not_count() {
        for value in [
            "gzip;q=2",
            "gzip;q=-1",
            "gzip;q=nan",
            "gzip;q=inf",
            "gzip;q=",
            "gzip;q",
            "gzip;x=1",
            ";;;,,,",
            ";q=1",
            "gzip;q=1e99",
            "gzip;=;=",
        ] {
            assert_eq!(wanted(&headers(ACCEPT_ENCODING, &[value])), None, "{value}");
        }
        let mut raw = HeaderMap::new();
        raw.insert(
            ACCEPT_ENCODING,
            HeaderValue::from_bytes(b"\xff gzip").unwrap(),
        );
        assert_eq!(wanted(&raw), None);
    }
}
