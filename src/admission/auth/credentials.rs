//! What a call's header fields (over gRPC: its metadata) say about who it comes from.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::refused;
use crate::error::Result;

/// The key or token that came with a call: from `Authorization: Bearer`, or from the header field
/// `other`. `None` if there is none.
///
/// # Errors
/// `Unauthenticated` if there is more than one, if it is longer than `limit` bytes or no visible
/// text, or for another scheme than Bearer.
pub fn credential<'h>(
    headers: &'h HeaderMap,
    other: Option<&HeaderName>,
    limit: usize,
) -> Result<Option<&'h str>> {
    let mut found = None;
    let others = other.into_iter().flat_map(|name| headers.get_all(name));
    let sources = headers
        .get_all(AUTHORIZATION)
        .into_iter()
        .map(|it| (it, true));
    for (value, has_scheme) in sources.chain(others.map(|it| (it, false))) {
        if found.is_some() {
            return Err(refused(
                "two_credentials",
                "more than one credential was sent",
            ));
        }
        if value.len() > limit {
            let message = format!(
                "a credential of {} bytes exceeds the limit of {limit} bytes",
                value.len()
            );
            return Err(refused("long_credential", message));
        }
        let text = value.to_str().map_err(|_| {
            refused(
                "malformed_credential",
                "the credential is not visible ASCII",
            )
        })?;
        found = Some(if has_scheme {
            bearer(text)?
        } else {
            text.trim()
        });
    }
    Ok(found)
}

/// The token of the scheme `Bearer`, whose name is written in any case (RFC 9110, 11.1).
fn bearer(text: &str) -> Result<&str> {
    let (scheme, token) = text.trim().split_once(' ').unwrap_or((text, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(refused(
            "malformed_credential",
            "the header field 'authorization' must be 'Bearer' and a key or token",
        ));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: HeaderName = HeaderName::from_static("x-api-key");

    fn read(fields: &[(&str, &[u8])]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Ok(credential(&headers, Some(&OTHER), 20)?.map(str::to_owned))
    }

    #[test]
    fn finds_the_one_credential_there_is() {
        for (fields, want) in [
            (&[][..], None),
            (&[("authorization", &b"Bearer abc"[..])][..], Some("abc")),
            (&[("authorization", b"bEARER   abc ")], Some("abc")),
            (&[("x-api-key", b" abc ")], Some("abc")),
            (&[("x-other", b"abc")], None),
        ] {
            assert_eq!(read(fields).unwrap().as_deref(), want, "{fields:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_credential() {
        for (fields, reason) in [
            (
                &[("authorization", &b"Bearer a"[..]), ("x-api-key", b"a")][..],
                "two_credentials",
            ),
            (
                &[
                    ("authorization", b"Bearer a"),
                    ("authorization", b"Bearer a"),
                ],
                "two_credentials",
            ),
            (&[("authorization", b"Basic YTpi")], "malformed_credential"),
            (&[("authorization", b"Bearer")], "malformed_credential"),
            (&[("authorization", b"Bearer ")], "malformed_credential"),
            (&[("authorization", b"abc")], "malformed_credential"),
            (&[("authorization", b"Bearer \xff")], "malformed_credential"),
            (
                &[("x-api-key", b"123456789012345678901")],
                "long_credential",
            ),
        ] {
            let error = read(fields).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Unauthenticated);
            assert_eq!(error.reason(), reason, "{fields:?}");
        }
    }
}
