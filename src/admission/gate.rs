//! The gate: the one place where a call is let in or turned away. Every door passes it, for what
//! lies behind is reached only with what it gives out.

use std::{
    fmt,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderName};

use super::{
    auth::{self, AuthError, Authorities, FetchedKeys, KeyFetches, credential},
    identity::Identity,
    limits::Limits,
    policy::Refusal,
    quota::{Accounts, Entry, Quota},
    verb::Verb,
};
use crate::{
    error::{Error, Result},
    follow::{Follow, Followed},
};

/// Lets calls in or turns them away.
#[derive(Debug, Default)]
pub struct Gate {
    /// `None` lets everybody do everything.
    guard: Option<Guard>,
}

struct Guard {
    authorities: Arc<Followed<Authorities>>,
    /// Keys that are in no file.
    fetched: Option<Arc<FetchedKeys>>,
    /// The header field that may carry a credential beside `authorization`.
    header: Option<HeaderName>,
    credential_byte_size: usize,
    accounts: Accounts,
    /// Most principals whose quotas are counted at a time.
    principals: usize,
}

/// The proof that a call was let in.
#[derive(Debug)]
#[must_use = "what it admits is only admitted while it is held"]
pub struct Permit(Option<Entry>);

impl Permit {
    /// Counts a request's input against its caller's quota, once it has been read.
    pub fn charge(&self, byte_size: usize) {
        if let Some(entry) = &self.0 {
            let byte_size = u64::try_from(byte_size).unwrap_or(u64::MAX);
            entry.charge(byte_size, Instant::now());
        }
    }
}

impl Gate {
    /// A gate that lets everybody do everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// A gate as the configuration has it: open unless that names a file.
    ///
    /// # Errors
    /// If a file cannot be read or makes no sense.
    pub fn new(config: &auth::Config, limits: &Limits) -> Result<Self, AuthError> {
        if !config.is_on() {
            return Ok(Self::open());
        }
        let header = config.header.as_deref().map(header_name).transpose()?;
        let (settings, fetched) = (config.clone(), auth::fetched(config)?);
        let keys = fetched.clone();
        let authorities = Followed::new("keys and policy", config.files(), move || {
            Authorities::read(&settings, keys.as_deref())
        })?;
        Ok(Self {
            guard: Some(Guard {
                authorities: Arc::new(authorities),
                fetched,
                header,
                credential_byte_size: limits.credential_byte_size,
                accounts: Accounts::default(),
                principals: limits.principals,
            }),
        })
    }

    /// A gate that knows nobody and lets in what `policy` allows.
    #[cfg(test)]
    pub(crate) fn guarded(policy: super::policy::Policy) -> Self {
        let read = move || Ok::<_, AuthError>(Authorities::with_policy(policy.clone()));
        let authorities = Followed::new("policy", Vec::new(), read).map(Arc::new);
        Self {
            guard: authorities.ok().map(|authorities| Guard {
                authorities,
                fetched: None,
                header: None,
                credential_byte_size: 0,
                accounts: Accounts::default(),
                principals: usize::MAX,
            }),
        }
    }

    /// Whether anybody is ever turned away.
    pub fn is_open(&self) -> bool {
        self.guard.is_none()
    }

    /// What has to be read again when its files change.
    pub fn followed(&self) -> Option<Arc<dyn Follow>> {
        let guard = self.guard.as_ref()?;
        Some(Arc::clone(&guard.authorities) as Arc<dyn Follow>)
    }

    /// What has to be fetched again every now and then. Looking takes as long as the network does.
    pub fn fetched(&self) -> Option<Arc<dyn Follow>> {
        let fetched = self.guard.as_ref()?.fetched.as_ref()?;
        Some(Arc::clone(fetched) as Arc<dyn Follow>)
    }

    /// How often keys were fetched, if they are.
    pub fn key_fetches(&self) -> Option<KeyFetches> {
        let fetched = self.guard.as_ref()?.fetched.as_ref()?;
        Some(fetched.fetches())
    }

    /// Who a call with these header fields says it comes from; `None` if it says nothing, or if the
    /// gate is open.
    ///
    /// # Errors
    /// `Unauthenticated` for credentials that are nobody's, or more than one.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let header = guard.header.as_ref();
        let Some(credential) = credential(headers, header, guard.credential_byte_size)? else {
            return Ok(None);
        };
        let authorities = guard.authorities.load();
        let principal = authorities.identify(credential, SystemTime::now())?;
        Ok(Some(Identity::Known(principal)))
    }

    /// Lets a call in; an empty `model` is the server itself, or of all models those that the
    /// caller may see.
    ///
    /// # Errors
    /// `Unauthenticated` for a caller without credentials, `PermissionDenied` for one with them, if
    /// the policy does not allow the call; `ResourceExhausted` if the caller's quota is used up.
    pub fn admit(&self, identity: &Identity, verb: Verb, model: &str) -> Result<Permit> {
        let Some(guard) = &self.guard else {
            return Ok(Permit(None));
        };
        guard
            .decide(identity, verb, model)
            .map_err(|refusal| refused(identity, verb, model, refusal))?;
        guard.enter(identity, verb).map(Permit)
    }

    /// Whether the policy allows a call, without letting it in.
    ///
    /// # Errors
    /// As [`Gate::admit`], but for quotas.
    pub fn check(&self, identity: &Identity, verb: Verb, model: &str) -> Result<()> {
        match &self.guard {
            None => Ok(()),
            Some(guard) => guard
                .decide(identity, verb, model)
                .map_err(|refusal| refused(identity, verb, model, refusal)),
        }
    }

    /// Whether `identity` may do `verb` with `model`: for lists, which leave out what the caller
    /// may not see.
    pub fn allows(&self, identity: &Identity, verb: Verb, model: &str) -> bool {
        self.guard
            .as_ref()
            .is_none_or(|guard| guard.decide(identity, verb, model).is_ok())
    }
}

impl Guard {
    fn decide(&self, identity: &Identity, verb: Verb, model: &str) -> Result<(), Refusal> {
        self.authorities.load().policy.decide(identity, verb, model)
    }

    /// Counts a call against its caller's quota. Whether the server is alive can always be asked.
    fn enter(&self, identity: &Identity, verb: Verb) -> Result<Option<Entry>> {
        let quota = self.authorities.load().policy.quota(identity);
        if quota == Quota::default() || verb == Verb::Health {
            return Ok(None);
        }
        let name = match identity {
            Identity::Anonymous => "",
            Identity::Known(principal) => &principal.name,
        };
        let entry = self
            .accounts
            .enter(name, quota, self.principals, Instant::now());
        entry.map(Some)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

fn header_name(name: &str) -> Result<HeaderName, AuthError> {
    HeaderName::try_from(name).map_err(|error| AuthError::Content {
        place: "auth.header".to_owned(),
        reason: format!("{name:?}: {error}"),
    })
}

fn refused(identity: &Identity, verb: Verb, model: &str, refusal: Refusal) -> Error {
    let Identity::Known(principal) = identity else {
        return Error::unauthenticated(
            "no_credentials",
            format!("'{verb}' is not allowed without credentials"),
        );
    };
    let reason = match refusal {
        Refusal::Denied => "denied",
        Refusal::NotAllowed => "not_allowed",
    };
    let model: String = model.escape_debug().take(MODEL_EXCERPT).collect();
    let on = match &*model {
        "" => String::new(),
        model => format!(" on model '{model}'"),
    };
    let name = principal.name.escape_debug();
    Error::permission_denied(reason, format!("'{name}' is not allowed to '{verb}'{on}"))
}

/// Characters of a model's name in a message.
const MODEL_EXCERPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::Policy, error::ErrorKind};

    #[test]
    fn an_open_gate_lets_everybody_do_everything() {
        for verb in Verb::ALL {
            assert!(Gate::open().admit(&Identity::Anonymous, verb, "m").is_ok());
        }
    }

    #[test]
    fn who_is_unknown_is_asked_for_credentials_and_who_is_known_is_refused() {
        let gate = Gate::guarded(Policy::default());
        let anonymous = gate
            .admit(&Identity::Anonymous, Verb::Load, "m")
            .unwrap_err();
        assert_eq!(anonymous.kind(), ErrorKind::Unauthenticated);
        assert_eq!(
            anonymous.message(),
            "'load' is not allowed without credentials"
        );
        let known = gate
            .admit(&Identity::named("alice"), Verb::Load, "m\n")
            .unwrap_err();
        assert_eq!(known.kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            known.message(),
            "'alice' is not allowed to 'load' on model 'm\\n'"
        );
        assert!(!gate.allows(&Identity::named("alice"), Verb::Index, "m"));
    }

    #[test]
    fn a_quota_counts_everything_but_questions_about_health() {
        let policy = "roles:\n  all: { allow: [{ verbs: ['*'] }], quota: { requests_in_flight: 1 } }\n\
                      authenticated: [all]\n";
        let gate = Gate::guarded(serde_yaml::from_str(policy).unwrap());
        let alice = Identity::named("alice");
        let held = gate.admit(&alice, Verb::Infer, "m").unwrap();
        let error = gate.admit(&alice, Verb::Index, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(gate.admit(&alice, Verb::Health, "").is_ok());
        drop(held);
        assert!(gate.admit(&alice, Verb::Index, "").is_ok());
    }
}
