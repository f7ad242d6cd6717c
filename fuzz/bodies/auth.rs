//! What is run on bytes that pretend to be credentials. Shared by the fuzz targets and the smoke
//! test; whatever is not signed with the one key that is known must be refused.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use despina::admission::auth::{JwtConfig, KeySet, TokenVerifier, credential};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

/// A key whose private half is nowhere.
const KEYS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static VERIFIER: LazyLock<TokenVerifier> = LazyLock::new(|| {
    let config = JwtConfig {
        issuer: Some("i".to_owned()),
        audience: Some("a".to_owned()),
        ..JwtConfig::default()
    };
    let keys = KeySet::from_json(KEYS).expect("a key set");
    TokenVerifier::new(&config, keys).expect("a verifier")
});

/// A JSON web token; and, for good measure, a set of keys.
pub fn token(data: &[u8]) {
    let _ = KeySet::from_json(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert!(VERIFIER.verify(text, now).is_err(), "a forged token");
    }
}

/// Header fields, one a line: `a` for `authorization` or `k` for another, and the value.
pub fn header(data: &[u8]) {
    const LIMIT: usize = 64;
    let other = HeaderName::from_static("x-key");
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(8) {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        let name = if *kind == b'a' {
            AUTHORIZATION
        } else {
            other.clone()
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    if let Ok(Some(found)) = credential(&headers, Some(&other), LIMIT) {
        assert_eq!(headers.len(), 1, "one credential of several was taken");
        assert!(found.len() <= LIMIT && found.trim() == found, "{found:?}");
    }
}
