//! Messages that are compressed: `grpc-encoding` and `grpc-accept-encoding`.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::HeaderMap;

use super::unary::PREFIX_BYTE_SIZE;
use crate::{
    admission::Charge,
    api::{
        Api, ResponseCompression,
        body::Chunks,
        compression::{Encoding, Level, Places},
        excerpt,
    },
    error::{Error, Result},
};

/// What a server says that it takes.
pub(super) const ACCEPTED: &str = "identity,deflate,gzip";
/// The header field that says so.
pub(super) const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// The header field that names a message's encoding.
pub(super) const ENCODING: &str = "grpc-encoding";
/// The reason of an error about an encoding that is not supported.
pub(super) const UNSUPPORTED: &str = "grpc_encoding";

/// An answer's message with its prefix, and its encoding.
pub(super) struct Answer {
    pub(super) chunks: Chunks,
    pub(super) encoding: Option<Encoding>,
}

impl Answer {
    /// A message that is not compressed.
    pub(super) fn plain(chunks: Chunks) -> Self {
        Self {
            chunks,
            encoding: None,
        }
    }
}

/// How a request's messages are encoded, those that are; `None` if none is.
///
/// # Errors
/// `Unimplemented` for other encodings than gzip and deflate.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>> {
    let Some(value) = headers.get(ENCODING) else {
        return Ok(None);
    };
    let name = value.to_str().unwrap_or_default();
    match Encoding::named(name) {
        None if name != "identity" => Err(Error::unimplemented(
            UNSUPPORTED,
            format!(
                "grpc-encoding '{}' is not supported, use one of {}",
                excerpt(name),
                Encoding::NAMES
            ),
        )),
        encoding => Ok(encoding),
    }
}

/// A message as it was before it was compressed, if it is marked so.
///
/// # Errors
/// `InvalidArgument` for a message that is marked as compressed where no encoding was named; as
/// [`Encoding::decompress`].
pub(super) async fn unpack(
    is_compressed: bool,
    message: Bytes,
    encoding: Option<Encoding>,
    api: &Api,
    charge: &mut Charge,
) -> Result<Bytes> {
    match encoding {
        _ if !is_compressed => Ok(message),
        Some(encoding) => {
            let (limits, places) = (&api.limits, &api.compressions);
            encoding.decompress(message, limits, places, charge).await
        }
        None => Err(Error::invalid_argument(
            UNSUPPORTED,
            "the message is marked as compressed, but grpc-encoding names no encoding",
        )),
    }
}

/// The encoding and the level of an answer: of those that the client takes, if the server is to
/// compress at all.
pub(super) fn wanted(
    headers: &HeaderMap,
    compression: ResponseCompression,
) -> Option<(Encoding, Level)> {
    let level = compression.level()?;
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |encoding: &Encoding| {
        accepted
            .split(',')
            .any(|name| Encoding::named(name.trim()) == Some(*encoding))
    };
    let encoding = [Encoding::Gzip, Encoding::Deflate]
        .into_iter()
        .find(takes)?;
    Some((encoding, level))
}

/// A message with its prefix, compressed.
///
/// # Errors
/// `Internal` if it cannot be compressed.
pub(super) async fn pack(
    chunks: Chunks,
    (encoding, level): (Encoding, Level),
    places: &Places,
) -> Result<Answer> {
    let compressed = encoding
        .compress(chunks.skip(PREFIX_BYTE_SIZE), level, places)
        .await?;
    let length = u32::try_from(compressed.len())
        .map_err(|_| Error::internal("compression", "the compressed answer has 4 GiB or more"))?;
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTE_SIZE);
    prefix.put_u8(1);
    prefix.put_u32(length);
    Ok(Answer {
        chunks: Chunks::new([prefix.freeze(), compressed]),
        encoding: Some(encoding),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;
    use crate::{admission::Budget, api::tests::empty_api, error::ErrorKind};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_request_names_one_encoding_or_none() {
        let read = |value| of_request(&headers(ENCODING, value));
        assert_eq!(of_request(&HeaderMap::new()).unwrap(), None);
        assert_eq!(read("identity").unwrap(), None);
        assert_eq!(read("gzip").unwrap(), Some(Encoding::Gzip));
        assert_eq!(read("deflate").unwrap(), Some(Encoding::Deflate));
        for bad in ["", "br", "gzip,deflate", "snappy"] {
            assert_eq!(read(bad).unwrap_err().kind(), ErrorKind::Unimplemented);
        }
    }

    #[test]
    fn answers_are_compressed_only_if_both_sides_want_it() {
        let low = ResponseCompression::Low;
        let find = |value, compression| {
            wanted(&headers(ACCEPT_ENCODING, value), compression).map(|(encoding, _)| encoding)
        };
        assert_eq!(find("identity, deflate, gzip", low), Some(Encoding::Gzip));
        assert_eq!(find("deflate", low), Some(Encoding::Deflate));
        assert_eq!(find("identity", low), None);
        assert_eq!(find("gzip", ResponseCompression::None), None);
        assert!(wanted(&HeaderMap::new(), low).is_none());
    }

    #[tokio::test]
    async fn what_is_packed_can_be_unpacked() {
        let chunks = Chunks::new([
            Bytes::from_static(b"\0\0\0\0\x06abc"),
            Bytes::from_static(b"def"),
        ]);
        let api = empty_api();
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let how = (encoding, Level::fast());
            let answer = pack(chunks.share(), how, &api.compressions).await;
            let answer = answer.unwrap();
            let mut sent = answer.chunks.collect().await.unwrap().to_bytes();
            let prefix = sent.split_to(PREFIX_BYTE_SIZE);
            assert_eq!(prefix[0], 1);
            assert_eq!(usize::from(prefix[4]), sent.len());
            let mut charge = Arc::new(Budget::new(usize::MAX)).charge();
            let message = unpack(true, sent.clone(), Some(encoding), &api, &mut charge);
            assert_eq!(message.await.unwrap(), "abcdef");
            let untouched = unpack(false, sent.clone(), Some(encoding), &api, &mut charge);
            assert_eq!(untouched.await.unwrap(), sent);
            let unnamed = unpack(true, sent, None, &api, &mut charge).await;
            assert_eq!(unnamed.unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
