//! What can be set about who callers are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::jwks::Algorithm;

/// How callers say who they are, and what they may do. Off until a file is named.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file of API keys.
    pub keys: Option<PathBuf>,
    /// A header field that may carry a key or token, beside `Authorization: Bearer`.
    pub header: Option<String>,
    /// The file of the policy; without it, callers with credentials may do everything, and others
    /// only ask for health.
    pub policy: Option<PathBuf>,
    /// JSON web tokens.
    pub jwt: JwtConfig,
}

/// Which JSON web tokens are accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The file of the issuer's public keys, a JSON web key set.
    pub jwks: Option<PathBuf>,
    /// A URL that has them instead of a file. Not encrypted only on this machine.
    pub jwks_url: Option<String>,
    /// The roots of that URL's server (PEM); the system's if not set.
    pub jwks_roots: Option<PathBuf>,
    /// Seconds after which they are fetched again.
    pub jwks_refresh_seconds: u64,
    /// What a token's `iss` must be.
    pub issuer: Option<String>,
    /// What a token's `aud` must be or hold.
    pub audience: Option<String>,
    /// The signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which the clocks of issuer and server may differ.
    pub leeway_seconds: u64,
    /// The claim that lists a principal's roles; none if not set.
    pub roles_claim: Option<String>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            jwks: None,
            jwks_url: None,
            jwks_roots: None,
            jwks_refresh_seconds: 300,
            issuer: None,
            audience: None,
            algorithms: vec![
                Algorithm::RS256,
                Algorithm::PS256,
                Algorithm::ES256,
                Algorithm::EdDSA,
            ],
            leeway_seconds: 30,
            roles_claim: None,
        }
    }
}

impl Config {
    /// Whether calls have to be admitted at all.
    pub fn is_on(&self) -> bool {
        let has_tokens = self.jwt.jwks.is_some() || self.jwt.jwks_url.is_some();
        self.keys.is_some() || self.policy.is_some() || has_tokens
    }

    /// Every file that it names.
    pub(in crate::admission) fn files(&self) -> Vec<PathBuf> {
        [&self.keys, &self.policy, &self.jwt.jwks]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}
