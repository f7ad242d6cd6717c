//! JSON web tokens (RFC 7519), signed as RFC 7515 says. The order is: form, algorithm, key,
//! signature, and only then what the token claims. Nothing of a token is believed before its
//! signature holds, but which key to try.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{config::JwtConfig, jwks::Algorithm, key_source::KeySource};
use crate::admission::identity::Principal;

/// Bytes of a subject.
const SUBJECT_BYTE_SIZE: usize = 256;

/// Checks tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    keys: Arc<KeySource>,
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    roles_claim: Option<String>,
}

/// Why a token is not accepted; the text is safe for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TokenError {
    #[error("the token is not a signed JSON web token")]
    Malformed,
    #[error("the token is signed with an algorithm that is not accepted")]
    Algorithm,
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    #[error("the token's signature does not hold")]
    Signature,
    #[error("the token's claims are malformed, or 'sub', 'iss', 'aud' or 'exp' is missing")]
    Claims,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none is.
    crit: Option<Value>,
}

/// Times are seconds since 1970, perhaps with a fraction.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn holds(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

impl TokenVerifier {
    /// Accepts tokens by `config` that are signed with one of `keys`.
    ///
    /// # Errors
    /// One sentence, if `config` leaves out who the tokens must be from or for.
    pub fn new(config: &JwtConfig, keys: impl Into<Arc<KeySource>>) -> Result<Self, String> {
        let required = |name: &str, value: &Option<String>| {
            value
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    format!("auth.jwt.{name} is not set: tokens for others would be accepted")
                })
        };
        Ok(Self {
            keys: keys.into(),
            issuer: required("issuer", &config.issuer)?,
            audience: required("audience", &config.audience)?,
            algorithms: config.algorithms.clone(),
            leeway: Duration::from_secs(config.leeway_seconds),
            roles_claim: config.roles_claim.clone(),
        })
    }

    /// Whom `token` stands for at the time `now`.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = part(header).ok_or(TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let algorithm = Algorithm::from_name(&header.alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(TokenError::Algorithm)?;
        let keys = self.keys.load();
        let Some(key) = keys.find(header.kid.as_deref(), algorithm) else {
            self.keys.miss();
            return Err(TokenError::UnknownKey);
        };
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        if !key.verifies(algorithm, signed.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        self.believe(part(claims).ok_or(TokenError::Claims)?, now)
    }

    fn believe(&self, claims: Claims, now: SystemTime) -> Result<Principal, TokenError> {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if !claims.aud.holds(&self.audience) {
            return Err(TokenError::Audience);
        }
        if now >= claims.exp + leeway {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|begin| now + leeway < begin) {
            return Err(TokenError::NotYetValid);
        }
        let subject = claims.sub;
        let is_name = (1..=SUBJECT_BYTE_SIZE).contains(&subject.len())
            && !subject.chars().any(char::is_control);
        if !is_name {
            return Err(TokenError::Claims);
        }
        let roles = self.roles_claim.as_ref();
        let roles = roles.and_then(|claim| claims.others.get(claim));
        Ok(Principal {
            name: format!("token:{subject}"),
            roles: roles.map(role_names).unwrap_or_default(),
        })
    }
}

/// Roles are a list, or one text with spaces between them as scopes are written. Anything else
/// names none.
fn role_names(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// One part of a token: base64url of a JSON object.
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    // A structure could also be read from an array of its fields, which is no token.
    (json.trim_ascii_start().first() == Some(&b'{'))
        .then(|| serde_json::from_slice(&json).ok())
        .flatten()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
