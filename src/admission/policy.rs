//! The policy: who may do what with which model. Decides purely; a role's `deny` wins over every
//! `allow`, and what no role allows is denied.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    identity::Identity,
    pattern::Pattern,
    quota::Quota,
    verb::{Verb, VerbPattern},
};

/// Who may do what with which model.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Roles by name.
    roles: BTreeMap<String, Role>,
    /// Roles of callers without credentials.
    anonymous: Vec<String>,
    /// Roles of every caller with credentials.
    authenticated: Vec<String>,
    /// Further roles of single principals, by name.
    principals: BTreeMap<String, Vec<String>>,
}

/// What the holders of a role may do, and what they may not do whatever else they hold.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
struct Role {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    /// How much each holder may ask for.
    quota: Quota,
}

/// Some verbs on some models.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Rule {
    verbs: Vec<VerbPattern>,
    /// Patterns of model names; all models if left out.
    #[serde(default = "every_model")]
    models: Vec<Pattern>,
}

fn every_model() -> Vec<Pattern> {
    vec![Pattern::any()]
}

/// Why a policy does not let a caller do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule of one of the caller's roles forbids it.
    Denied,
    /// No rule of any of them allows it.
    NotAllowed,
}

impl Policy {
    /// What holds where no policy is written: callers with credentials may do everything, others
    /// may ask whether the server is alive and ready.
    pub fn of_credentials() -> Self {
        let role = |verbs| Role {
            allow: vec![Rule {
                verbs,
                models: every_model(),
            }],
            ..Role::default()
        };
        let (anyone, everything) = ("anyone".to_owned(), "everything".to_owned());
        Self {
            roles: BTreeMap::from([
                (anyone.clone(), role(vec![VerbPattern::Only(Verb::Health)])),
                (everything.clone(), role(vec![VerbPattern::Any])),
            ]),
            anonymous: vec![anyone],
            authenticated: vec![everything],
            principals: BTreeMap::new(),
        }
    }

    /// Whether `identity` may do `verb` with `model`; an empty `model` is the server itself, or of
    /// all models those that the caller may see.
    ///
    /// # Errors
    /// Why it may not.
    pub fn decide(&self, identity: &Identity, verb: Verb, model: &str) -> Result<(), Refusal> {
        let is_known = matches!(identity, Identity::Known(_));
        let mut allowed = false;
        for role in self.roles(identity) {
            if role.deny.iter().any(|rule| rule.denies(verb, model)) {
                return Err(Refusal::Denied);
            }
            allowed |= role
                .allow
                .iter()
                .any(|rule| rule.allows(verb, model, is_known));
        }
        if allowed {
            Ok(())
        } else {
            Err(Refusal::NotAllowed)
        }
    }

    /// How much `identity` may ask for: of all its roles the narrowest bounds.
    pub fn quota(&self, identity: &Identity) -> Quota {
        self.roles(identity)
            .map(|role| role.quota)
            .fold(Quota::default(), Quota::strictest)
    }

    /// The roles that are named but nowhere defined, each with where it is named.
    pub fn undefined_roles(&self) -> Vec<String> {
        let principals = self
            .principals
            .iter()
            .map(|(name, roles)| (format!("principals.{name}"), roles));
        let fixed = [
            ("anonymous".to_owned(), &self.anonymous),
            ("authenticated".to_owned(), &self.authenticated),
        ];
        fixed
            .into_iter()
            .chain(principals)
            .flat_map(|(place, roles)| roles.iter().map(move |role| (place.clone(), role)))
            .filter(|(_, role)| !self.roles.contains_key(*role))
            .map(|(place, role)| format!("{place}: no role is called `{role}`"))
            .collect()
    }

    fn roles<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Role> {
        let (general, own, brought) = match identity {
            Identity::Anonymous => (&self.anonymous, None, &[][..]),
            Identity::Known(principal) => (
                &self.authenticated,
                self.principals.get(&principal.name),
                &principal.roles[..],
            ),
        };
        general
            .iter()
            .chain(own.into_iter().flatten())
            .chain(brought)
            .filter_map(|name| self.roles.get(name))
    }
}

impl Rule {
    /// A rule about single models also lets the caller ask about the server and its models in
    /// general: each answer shows only what the caller may see.
    fn allows(&self, verb: Verb, model: &str, is_known: bool) -> bool {
        let named = self.verbs.contains(&VerbPattern::Only(verb));
        let any = self.verbs.contains(&VerbPattern::Any) && (is_known || !verb.is_management());
        (named || any) && (model.is_empty() || self.models.iter().any(|name| name.matches(model)))
    }

    /// A rule about single models does not deny what concerns the server.
    fn denies(&self, verb: Verb, model: &str) -> bool {
        let is_verb = |pattern: &VerbPattern| match pattern {
            VerbPattern::Any => true,
            VerbPattern::Only(only) => *only == verb,
        };
        self.verbs.iter().any(is_verb)
            && self
                .models
                .iter()
                .any(|name| name.is_any() || (!model.is_empty() && name.matches(model)))
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
