//! API keys: random texts, of which the server knows only the SHA-256. That is enough because a key
//! has 256 bits of chance in it, which nobody guesses; it would not be for passwords.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::admission::identity::Principal;

/// Bytes that a key must have, so that its hash may be kept in a file.
pub const LEAST_KEY_BYTE_SIZE: usize = 32;
/// What keys made here begin with, so that a scan for leaked secrets can find them.
const PREFIX: &str = "despina_";

/// The file of API keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeyFile {
    keys: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: Digest,
    #[serde(default)]
    roles: Vec<String>,
}

/// A key's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Digest([u8; 32]);

impl Digest {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| {
            D::Error::custom("sha256 must be the 64 hexadecimal digits that `despina key` prints")
        })
    }
}

/// The keys that are known.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    keys: Vec<(Digest, Arc<Principal>)>,
}

impl KeyRing {
    /// # Errors
    /// One sentence, for a name that no principal can have or a key that is there twice.
    pub(super) fn new(file: KeyFile) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        let mut keys = Vec::with_capacity(file.keys.len());
        for entry in file.keys {
            let name = entry.name;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(format!("{name:?} cannot be the name of a key"));
            }
            if !seen.insert(entry.sha256) {
                return Err(format!("the key of `{name}` is there twice"));
            }
            let principal = Principal {
                name: format!("key:{name}"),
                roles: entry.roles,
            };
            keys.push((entry.sha256, Arc::new(principal)));
        }
        Ok(Self { keys })
    }

    /// Whose key it is. Takes the same time whether and where it is found.
    pub(super) fn find(&self, key: &str) -> Option<Arc<Principal>> {
        let digest = Digest::of(key);
        let mut found = None;
        for (known, principal) in &self.keys {
            if known.0.ct_eq(&digest.0).into() {
                found = Some(principal);
            }
        }
        found.map(Arc::clone)
    }
}

/// A new key with 256 bits of chance in it; `None` if the system gives none.
pub fn new_key() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// The entry of the file of keys by which the server knows `key`; nothing of the key is in it.
pub fn key_entry(name: &str, key: &str, roles: &[String]) -> String {
    let digest: String = Digest::of(key)
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // JSON's texts and lists are YAML's too, whatever is in them.
    let quoted = |value: serde_json::Value| value.to_string();
    let mut entry = format!("  - name: {}\n    sha256: {digest}\n", quoted(name.into()));
    if !roles.is_empty() {
        entry.push_str(&format!("    roles: {}\n", quoted(roles.into())));
    }
    entry
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict_yaml::parse;

    fn ring(text: &str) -> Result<KeyRing, String> {
        KeyRing::new(parse::<KeyFile>(text, "keys.yaml").map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_new_key_is_found_by_its_entry_and_no_other_is() {
        let (key, other) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(key, other);
        assert!(key.len() > LEAST_KEY_BYTE_SIZE);
        let roles = ["a: b".to_owned(), "c".to_owned()];
        let text = format!(
            "keys:\n{}{}",
            key_entry("alice \"x\" #1", &key, &roles),
            key_entry("bob", &other, &[])
        );
        let ring = ring(&text).unwrap();
        let alice = ring.find(&key).unwrap();
        assert_eq!(alice.name, "key:alice \"x\" #1");
        assert_eq!(alice.roles, roles);
        assert_eq!(ring.find(&other).unwrap().name, "key:bob");
        assert_eq!(ring.find(&key[1..]), None);
        assert_eq!(ring.find(""), None);
    }

    #[test]
    fn neither_keys_nor_their_digests_are_shown() {
        let key = new_key().unwrap();
        let entry = key_entry("alice", &key, &[]);
        assert!(!entry.contains(&key[PREFIX.len()..]));
        let shown = format!("{:?}", ring(&format!("keys:\n{entry}")).unwrap());
        let digest = entry.lines().nth(1).unwrap().split_whitespace().nth(1);
        assert!(
            !shown.contains(digest.unwrap()) && !shown.contains(&key),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let digest = "0".repeat(64);
        let one = format!("  - {{ name: a, sha256: '{digest}' }}\n");
        for (text, part) in [
            (
                "keys:\n  - { name: a, sha265: x }\n".to_owned(),
                "did you mean `sha256`?",
            ),
            (
                "keys:\n  - { name: a, sha256: x }\n".to_owned(),
                "keys.yaml:2:5: keys[0]: sha256 must be",
            ),
            (
                format!("keys:\n{one}{one}"),
                "the key of `a` is there twice",
            ),
            (
                format!("keys:\n  - {{ name: '', sha256: '{digest}' }}\n"),
                "cannot be the name",
            ),
        ] {
            let error = ring(&text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
