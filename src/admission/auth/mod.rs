//! Who callers are: API keys, JSON web tokens and the policy, as their files say, or what a URL has.
//! Reads the files; what they say is checked in the files of this folder, of which only `fetch` reads
//! anything.

mod config;
mod credentials;
mod fetch;
mod jwks;
mod key_source;
mod keys;
mod token;

use std::{fs, path::Path, sync::Arc, time::SystemTime};

pub(super) use self::key_source::FetchedKeys;
use self::keys::{KeyFile, KeyRing};
pub use self::{
    config::{Config, JwtConfig},
    credentials::credential,
    jwks::{Algorithm, KeySet},
    key_source::{KeyFetches, KeySource},
    keys::{LEAST_KEY_BYTE_SIZE, key_entry, new_key},
    token::{TokenError, TokenVerifier},
};
use super::{identity::Principal, policy::Policy};
use crate::{
    error::{Error, Result},
    strict_yaml::{self, FileError},
};

/// Bytes of a file of public keys.
const JWKS_BYTE_SIZE: u64 = 1 << 20;

/// Why the files that say who may do what cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A YAML file cannot be read, or holds something unknown.
    #[error(transparent)]
    File(#[from] FileError),
    /// What a file, or a setting, says makes no sense.
    #[error("{place}: {reason}")]
    Content {
        /// The file or the setting.
        place: String,
        /// Why.
        reason: String,
    },
}

/// Who is known and what they may do, read from the files of a [`Config`].
#[derive(Debug, Default)]
pub(super) struct Authorities {
    keys: KeyRing,
    tokens: Option<TokenVerifier>,
    pub(super) policy: Policy,
}

impl Authorities {
    /// Reads the files; `fetched` are the keys that are in none.
    ///
    /// # Errors
    /// If one of them cannot be read or makes no sense.
    pub(super) fn read(config: &Config, fetched: Option<&FetchedKeys>) -> Result<Self, AuthError> {
        let keys = match &config.keys {
            None => KeyRing::default(),
            Some(path) => {
                KeyRing::new(strict_yaml::read::<KeyFile>(path)?).map_err(content(path))?
            }
        };
        let tokens = match (&config.jwt.jwks, fetched) {
            (None, None) => None,
            (Some(path), None) => Some(verifier(config, path)?),
            (None, Some(fetched)) => Some(fetched_verifier(config, fetched)?),
            (Some(_), Some(_)) => {
                return Err(AuthError::Content {
                    place: "auth.jwt".to_owned(),
                    reason: "jwks and jwks_url are both set: keys come from one of them".to_owned(),
                });
            }
        };
        let policy = match &config.policy {
            None => Policy::of_credentials(),
            Some(path) => policy(path)?,
        };
        Ok(Self {
            keys,
            tokens,
            policy,
        })
    }

    /// One that knows nobody.
    #[cfg(test)]
    pub(super) fn with_policy(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Whose key or token `credential` is.
    ///
    /// # Errors
    /// `Unauthenticated` if it is nobody's.
    pub(super) fn identify(&self, credential: &str, now: SystemTime) -> Result<Arc<Principal>> {
        if let Some(principal) = self.keys.find(credential) {
            return Ok(principal);
        }
        match &self.tokens {
            Some(tokens) if credential.contains('.') => tokens
                .verify(credential, now)
                .map(Arc::new)
                .map_err(|error| refused("invalid_token", error.to_string())),
            _ => Err(refused("unknown_key", "the key is not known")),
        }
    }
}

fn verifier(config: &Config, path: &Path) -> Result<TokenVerifier, AuthError> {
    let read = || {
        let byte_size = fs::metadata(path).map_err(|error| error.to_string())?.len();
        if byte_size > JWKS_BYTE_SIZE {
            return Err(format!(
                "is {byte_size} bytes long, the limit is {JWKS_BYTE_SIZE}"
            ));
        }
        let text = fs::read(path).map_err(|error| error.to_string())?;
        TokenVerifier::new(&config.jwt, KeySet::from_json(&text)?)
    };
    read().map_err(content(path))
}

fn fetched_verifier(config: &Config, fetched: &FetchedKeys) -> Result<TokenVerifier, AuthError> {
    TokenVerifier::new(&config.jwt, Arc::clone(fetched.keys())).map_err(|reason| {
        AuthError::Content {
            place: "auth.jwt.jwks_url".to_owned(),
            reason,
        }
    })
}

/// Fetches the keys that are at a URL, if the settings name one.
///
/// # Errors
/// If the settings make no sense.
pub(super) fn fetched(config: &Config) -> Result<Option<Arc<FetchedKeys>>, AuthError> {
    let url = config.jwt.jwks_url.as_deref();
    let fetched = url.map(|url| FetchedKeys::start(url, &config.jwt));
    Ok(fetched.transpose()?.map(Arc::new))
}

fn policy(path: &Path) -> Result<Policy, AuthError> {
    let policy: Policy = strict_yaml::read(path)?;
    match policy.undefined_roles().first() {
        None => Ok(policy),
        Some(reason) => Err(content(path)(reason.clone())),
    }
}

fn content(path: &Path) -> impl FnOnce(String) -> AuthError {
    let place = path.display().to_string();
    |reason| AuthError::Content { place, reason }
}

/// The error for a credential that is nobody's.
fn refused(reason: &'static str, message: impl Into<String>) -> Error {
    Error::unauthenticated(reason, message)
}
