//! The gate: the one place where a call is let in or turned away. Every door passes it, for what
//! lies behind is reached only with what it gives out.

use super::{
    identity::Identity,
    policy::{Policy, Refusal},
    verb::Verb,
};
use crate::error::{Error, Result};

/// Lets calls in or turns them away.
#[derive(Debug, Default)]
pub struct Gate {
    /// `None` lets everybody do everything.
    policy: Option<Policy>,
}

/// The proof that a call was let in.
#[derive(Debug)]
#[must_use = "what it admits is only admitted while it is held"]
pub struct Permit(());

impl Gate {
    /// A gate that lets everybody do everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// A gate that lets in what `policy` allows.
    pub fn guarded(policy: Policy) -> Self {
        Self {
            policy: Some(policy),
        }
    }

    /// Lets a call in; an empty `model` is the server itself, or of all models those that the
    /// caller may see.
    ///
    /// # Errors
    /// `Unauthenticated` for a caller without credentials, `PermissionDenied` for one with them, if
    /// the policy does not allow the call.
    pub fn admit(&self, identity: &Identity, verb: Verb, model: &str) -> Result<Permit> {
        self.check(identity, verb, model)?;
        Ok(Permit(()))
    }

    /// Whether the policy allows a call, without letting it in.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub fn check(&self, identity: &Identity, verb: Verb, model: &str) -> Result<()> {
        match &self.policy {
            None => Ok(()),
            Some(policy) => policy
                .decide(identity, verb, model)
                .map_err(|refusal| refused(identity, verb, model, refusal)),
        }
    }

    /// Whether `identity` may do `verb` with `model`: for lists, which leave out what the caller
    /// may not see.
    pub fn allows(&self, identity: &Identity, verb: Verb, model: &str) -> bool {
        self.policy
            .as_ref()
            .is_none_or(|policy| policy.decide(identity, verb, model).is_ok())
    }
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
    use crate::error::ErrorKind;

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
}
