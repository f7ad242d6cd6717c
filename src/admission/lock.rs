//! Groups of acts that can be locked, each with a secret that callers send in a header field
//! (Triton's restricted APIs). A lock says nothing about who calls; that is the policy's matter.

use std::fmt;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Verb;
use crate::error::{Error, Result};

/// Triton's groups.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum ApiGroup {
    Health,
    Metadata,
    Inference,
    SharedMemory,
    ModelConfig,
    ModelRepository,
    Statistics,
    Trace,
    Logging,
}

/// Groups that one secret opens.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// What is locked.
    pub apis: Vec<ApiGroup>,
    /// The header field's name; over gRPC, `triton-grpc-protocol-` stands before it.
    pub key: String,
    /// The secret.
    pub value: String,
}

/// One door's locks.
#[derive(Default)]
pub struct Locks {
    locks: Vec<Bolt>,
    /// What the door calls what is locked.
    what: &'static str,
}

/// The groups that a request has opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened(u16);

/// A group's lock.
struct Bolt {
    group: ApiGroup,
    /// As it was configured, for messages.
    key: String,
    header: HeaderName,
    /// Secrets are compared by their digests, so that the time it takes says nothing about them.
    secret: [u8; 32],
}

impl ApiGroup {
    const ALL: [Self; 9] = [
        Self::Health,
        Self::Metadata,
        Self::Inference,
        Self::SharedMemory,
        Self::ModelConfig,
        Self::ModelRepository,
        Self::Statistics,
        Self::Trace,
        Self::Logging,
    ];

    /// Triton's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Inference => "inference",
            Self::SharedMemory => "shared-memory",
            Self::ModelConfig => "model-config",
            Self::ModelRepository => "model-repository",
            Self::Statistics => "statistics",
            Self::Trace => "trace",
            Self::Logging => "logging",
        }
    }

    /// The group that an act belongs to; `None` for what Triton has no group for.
    const fn of(verb: Verb) -> Option<Self> {
        Some(match verb {
            Verb::Health => Self::Health,
            Verb::Metadata => Self::Metadata,
            Verb::Infer => Self::Inference,
            Verb::SharedMemory => Self::SharedMemory,
            Verb::Config => Self::ModelConfig,
            Verb::Index | Verb::Load | Verb::Unload => Self::ModelRepository,
            Verb::Statistics => Self::Statistics,
            Verb::Trace => Self::Trace,
            Verb::Logging => Self::Logging,
            Verb::Metrics => return None,
        })
    }

    fn bit(self) -> u16 {
        Self::ALL
            .into_iter()
            .position(|group| group == self)
            .map_or(0, |place| 1 << place)
    }
}

impl Locks {
    /// The locks of a door that writes `prefix` before the names of header fields, and calls what
    /// is locked `what`.
    ///
    /// # Errors
    /// For a group with two locks, or a key that is no header field's name.
    pub fn new(locks: &[Lock], prefix: &str, what: &'static str) -> Result<Self, String> {
        let mut bolts: Vec<Bolt> = Vec::new();
        for lock in locks {
            let key = format!("{prefix}{}", lock.key);
            let header = HeaderName::from_bytes(key.as_bytes())
                .map_err(|_| format!("'{}' is no name of a header field", lock.key))?;
            for &group in &lock.apis {
                if bolts.iter().any(|bolt| bolt.group == group) {
                    let name = group.name();
                    return Err(format!(
                        "{} '{name}' can not be specified in multiple config groups",
                        what.to_lowercase()
                    ));
                }
                bolts.push(Bolt {
                    group,
                    key: key.clone(),
                    header: header.clone(),
                    secret: Sha256::digest(&lock.value).into(),
                });
            }
        }
        Ok(Self { locks: bolts, what })
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// What the secrets in these header fields open.
    pub fn open(&self, headers: &HeaderMap) -> Opened {
        let opened = self.locks.iter().filter(|bolt| {
            let sent = headers.get(&bolt.header);
            sent.is_some_and(|sent| <[u8; 32]>::from(Sha256::digest(sent)) == bolt.secret)
        });
        Opened(opened.fold(0, |opened, bolt| opened | bolt.group.bit()))
    }

    /// Whether an act is open.
    ///
    /// # Errors
    /// `PermissionDenied` if it is not, with the name of the header field.
    pub fn check(&self, verb: Verb, opened: Opened) -> Result<()> {
        let Some(group) = ApiGroup::of(verb) else {
            return Ok(());
        };
        let lock = self.locks.iter().find(|bolt| bolt.group == group);
        match lock {
            Some(bolt) if opened.0 & group.bit() == 0 => Err(Error::permission_denied(
                "restricted_api",
                format!(
                    "This {} is restricted, expecting header '{}'",
                    self.what, bolt.key
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Lock {
    /// Reads Triton's `<api>,<api>:<key>=<value>`, for a door that calls what is locked `what`.
    ///
    /// # Errors
    /// If it has another form, or names a group that there is not.
    pub fn parse(text: &str, what: &str) -> Result<Self, String> {
        let parts = text
            .split_once(':')
            .and_then(|(apis, rest)| Some((apis, rest.split_once('=')?)));
        let Some((apis, (key, value))) = parts else {
            return Err("expected <apis>:<key>=<value>".to_owned());
        };
        let group = |name: &str| {
            let mut groups = ApiGroup::ALL.into_iter();
            groups
                .find(|group| group.name() == name)
                .ok_or_else(|| format!("unknown restricted {what} '{name}'"))
        };
        Ok(Self {
            apis: apis.split(',').map(group).collect::<Result<_, _>>()?,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("apis", &self.apis)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.locks.iter().map(|bolt| (bolt.group, &bolt.key));
        f.debug_map().entries(groups).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(texts: &[&str]) -> Result<Locks, String> {
        let locks: Result<Vec<Lock>, _> =
            texts.iter().map(|text| Lock::parse(text, "api")).collect();
        Locks::new(&locks?, "x-", "API")
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_secret_opens_its_groups_and_no_others() {
        let locks = locks(&["trace,model-repository:Admin-Key=a=b:c", "inference:user=u"]).unwrap();
        let open = |fields: &[_]| {
            let opened = locks.open(&headers(fields));
            let open = Verb::ALL
                .into_iter()
                .filter(|&verb| locks.check(verb, opened).is_ok());
            open.filter(|verb| {
                matches!(
                    verb,
                    Verb::Trace | Verb::Load | Verb::Index | Verb::Infer | Verb::Metrics
                )
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(open(&[]), [Verb::Metrics]);
        assert_eq!(open(&[("x-admin-key", "wrong")]), [Verb::Metrics]);
        assert_eq!(open(&[("x-user", "u")]), [Verb::Metrics, Verb::Infer]);
        let admin = [Verb::Metrics, Verb::Index, Verb::Load, Verb::Trace];
        assert_eq!(open(&[("x-admin-key", "a=b:c")]), admin);
    }

    #[test]
    fn what_is_locked_names_the_header_and_keeps_the_secret() {
        let locks = locks(&["health:Key=secret"]).unwrap();
        let error = locks.check(Verb::Health, Opened::default()).unwrap_err();
        assert_eq!(
            error.message(),
            "This API is restricted, expecting header 'x-Key'"
        );
        let lock = Lock::parse("health:Key=secret", "api").unwrap();
        let shown = format!("{locks:?} {lock:?}");
        assert!(
            shown.contains("Key") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn a_group_has_one_lock_and_a_lock_one_form() {
        let error = locks(&["health:a=b", "trace,health:c=d"]).unwrap_err();
        assert!(
            error.contains("'health' can not be specified in multiple"),
            "{error}"
        );
        for wrong in [
            "health",
            "health:key",
            "health=key:x",
            "helth:a=b",
            ":a=b",
            "health:a b=c",
        ] {
            assert!(locks(&[wrong]).is_err(), "{wrong}");
        }
        assert!(locks(&["health:key="]).is_ok());
    }

    #[test]
    fn every_group_is_written_as_triton_does() {
        for group in ApiGroup::ALL {
            let read: ApiGroup = serde_yaml::from_str(group.name()).unwrap();
            assert_eq!(read, group);
        }
    }
}
