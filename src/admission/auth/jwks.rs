//! JSON web key sets (RFC 7517): the public keys that tokens are signed with. Each key fits only
//! the algorithms of its own kind, whatever a token claims. Secrets shared with the issuer
//! (`oct`) are not accepted: who can check such a token can also make one.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

/// Keys that a set may have.
const MOST_KEYS: usize = 256;

/// How tokens may be signed. There is no `none` and nothing symmetric.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// The algorithm that a header calls `name`; `None` if it is not one of these.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" => Self::EdDSA,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static signature::RsaParameters> {
        Some(match self {
            Self::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::ES256 | Self::ES384 | Self::EdDSA => return None,
        })
    }
}

/// A set of public keys.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm that it is meant for, if its issuer says so.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as it is written. Fields that are not needed here are left alone, as the standard asks.
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct WrittenSet {
    keys: Vec<WrittenKey>,
}

impl KeySet {
    /// Reads a set; keys for other purposes or of other kinds are left out.
    ///
    /// # Errors
    /// One sentence, for a text that is no key set, a key that is not whole, or a set without any
    /// key that is of use.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let set: WrittenSet = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if set.keys.len() > MOST_KEYS {
            return Err(format!(
                "{} keys exceed the limit of {MOST_KEYS}",
                set.keys.len()
            ));
        }
        let mut keys = Vec::new();
        for (index, written) in set.keys.into_iter().enumerate() {
            if let Some(key) = key(written).map_err(|why| format!("keys[{index}]: {why}"))? {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err("no RSA, P-256, P-384 or Ed25519 key for signatures is in it".to_owned());
        }
        Ok(Self { keys })
    }

    /// The key that a token with this header is signed with: the one of that id, or without an id
    /// the only one that fits.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let of_kind = match self.material {
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::ES256,
            Material::P384(_) => algorithm == Algorithm::ES384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDSA,
        };
        of_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether `signature` is this key's for `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let verified =
            match &self.material {
                Material::Rsa { n, e } => match algorithm.rsa() {
                    Some(parameters) => {
                        RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
                    }
                    None => return false,
                },
                Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
                Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature),
                Material::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
                }
            };
        verified.is_ok()
    }
}

fn key(written: WrittenKey) -> Result<Option<Key>, String> {
    if written.purpose.as_deref().is_some_and(|it| it != "sig") {
        return Ok(None);
    }
    let material = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => Material::Rsa {
            n: number("n", written.n)?,
            e: number("e", written.e)?,
        },
        ("EC", Some("P-256")) => Material::P256(point(written.x, written.y, 32)?),
        ("EC", Some("P-384")) => Material::P384(point(written.x, written.y, 48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x", written.x, 32)?),
        ("oct", _) => return Err("a secret (`oct`) does not belong among public keys".to_owned()),
        _ => return Ok(None),
    };
    let only = match written.alg.as_deref() {
        None => None,
        // Meant for an algorithm that is not known here.
        Some(name) => match Algorithm::from_name(name) {
            None => return Ok(None),
            known => known,
        },
    };
    Ok(Some(Key {
        id: written.kid,
        only,
        material,
    }))
}

/// A point of a curve, uncompressed, as SEC 1 writes it.
fn point(x: Option<String>, y: Option<String>, byte_size: usize) -> Result<Vec<u8>, String> {
    let mut point = vec![4];
    point.extend(bytes("x", x, byte_size)?);
    point.extend(bytes("y", y, byte_size)?);
    Ok(point)
}

/// A number, big-endian, without zeros in front.
fn number(name: &str, text: Option<String>) -> Result<Vec<u8>, String> {
    let bytes = decode(name, text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes.into_iter().skip(zeros).collect())
}

fn bytes(name: &str, text: Option<String>, byte_size: usize) -> Result<Vec<u8>, String> {
    let bytes = decode(name, text)?;
    if bytes.len() != byte_size {
        return Err(format!(
            "`{name}` has {} bytes instead of {byte_size}",
            bytes.len()
        ));
    }
    Ok(bytes)
}

fn decode(name: &str, text: Option<String>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("`{name}` is missing"))?;
    BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| format!("`{name}` is not base64url"))
}
