use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::admission::identity::Principal;

const POLICY: &str = "
roles:
  probe:
    allow: [{ verbs: [health] }]
  reader:
    allow:
      - { verbs: [infer, metadata, index], models: ['team-a-*', shared] }
  operator:
    allow: [{ verbs: ['*'] }]
    deny: [{ verbs: [unload, load], models: ['prod-*'] }]
  locked:
    deny: [{ verbs: ['*'] }]
  careless:
    allow: [{ verbs: ['*'] }]
  deliberate:
    allow: [{ verbs: [load] }]
anonymous: [probe]
authenticated: [probe]
principals:
  alice: [reader]
  bob: [operator]
  mallory: [operator, locked]
";

fn policy() -> Policy {
    serde_yaml::from_str(POLICY).unwrap()
}

fn decide(identity: &Identity, verb: Verb, model: &str) -> Result<(), Refusal> {
    policy().decide(identity, verb, model)
}

#[test]
fn decides_by_principal_verb_and_model() {
    use Refusal::{Denied, NotAllowed};
    for (name, verb, model, decision) in [
        ("", Verb::Health, "", Ok(())),
        ("", Verb::Health, "any", Ok(())),
        ("", Verb::Infer, "shared", Err(NotAllowed)),
        ("", Verb::Load, "m", Err(NotAllowed)),
        ("alice", Verb::Health, "", Ok(())),
        ("alice", Verb::Infer, "team-a-1", Ok(())),
        ("alice", Verb::Infer, "shared", Ok(())),
        ("alice", Verb::Infer, "team-b-1", Err(NotAllowed)),
        ("alice", Verb::Index, "", Ok(())),
        ("alice", Verb::Index, "team-b-1", Err(NotAllowed)),
        ("alice", Verb::Load, "team-a-1", Err(NotAllowed)),
        ("bob", Verb::Load, "m", Ok(())),
        ("bob", Verb::Load, "prod-1", Err(Denied)),
        ("bob", Verb::Infer, "prod-1", Ok(())),
        ("bob", Verb::Logging, "", Ok(())),
        ("mallory", Verb::Infer, "m", Err(Denied)),
        ("mallory", Verb::Health, "", Err(Denied)),
        ("nobody", Verb::Infer, "shared", Err(NotAllowed)),
    ] {
        let identity = match name {
            "" => Identity::Anonymous,
            name => Identity::named(name),
        };
        assert_eq!(
            decide(&identity, verb, model),
            decision,
            "{name} {verb} {model}"
        );
    }
}

#[test]
fn credentials_can_bring_roles_that_the_policy_defines() {
    let with = |role: &str| {
        Identity::Known(Arc::new(Principal {
            name: "stranger".to_owned(),
            roles: vec![role.to_owned()],
        }))
    };
    assert_eq!(decide(&with("operator"), Verb::Load, "m"), Ok(()));
    assert_eq!(
        decide(&with("root"), Verb::Load, "m"),
        Err(Refusal::NotAllowed)
    );
}

#[test]
fn a_star_does_not_let_strangers_manage_the_server_but_a_verb_by_name_does() {
    let mut policy = policy();
    policy.anonymous = vec!["careless".to_owned()];
    for verb in Verb::ALL {
        let decision = policy.decide(&Identity::Anonymous, verb, "");
        assert_eq!(decision.is_err(), verb.is_management(), "{verb}");
    }
    policy.anonymous = vec!["deliberate".to_owned()];
    let decision = policy.decide(&Identity::Anonymous, Verb::Load, "m");
    assert_eq!(decision, Ok(()));
}

#[test]
fn the_narrowest_quota_of_all_roles_holds() {
    let policy: Policy = serde_yaml::from_str(
        "roles:\n  a: { quota: { requests_per_second: 5 } }\n  \
         b: { quota: { requests_per_second: 3, requests_in_flight: 2 } }\n\
         authenticated: [a]\nprincipals: { 'key:x': [b] }\n",
    )
    .unwrap();
    let quota = |name: &str| policy.quota(&Identity::named(name));
    assert_eq!(quota("key:x").requests_per_second.map(u32::from), Some(3));
    assert_eq!(quota("key:y").requests_per_second.map(u32::from), Some(5));
    assert_eq!(policy.quota(&Identity::Anonymous), Quota::default());
    let zero = "roles: { a: { quota: { requests_per_second: 0 } } }";
    assert!(serde_yaml::from_str::<Policy>(zero).is_err());
}

#[test]
fn without_a_policy_credentials_decide() {
    let policy = Policy::of_credentials();
    for verb in Verb::ALL {
        let anonymous = policy.decide(&Identity::Anonymous, verb, "m");
        assert_eq!(anonymous.is_ok(), verb == Verb::Health, "{verb}");
        let known = policy.decide(&Identity::named("x"), verb, "m");
        assert_eq!(known, Ok(()), "{verb}");
    }
}

#[test]
fn an_empty_policy_allows_nothing() {
    for verb in Verb::ALL {
        let decision = Policy::default().decide(&Identity::named("x"), verb, "");
        assert_eq!(decision, Err(Refusal::NotAllowed));
    }
}

#[test]
fn names_roles_that_are_not_defined() {
    let policy: Policy =
        serde_yaml::from_str("anonymous: [prob]\nprincipals: { alice: [reader] }").unwrap();
    assert_eq!(
        policy.undefined_roles(),
        [
            "anonymous: no role is called `prob`",
            "principals.alice: no role is called `reader`"
        ]
    );
    assert!(self::policy().undefined_roles().is_empty());
}

fn verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(Verb::ALL.to_vec())
}

fn rule() -> impl Strategy<Value = Rule> {
    let pattern = prop_oneof![Just(VerbPattern::Any), verb().prop_map(VerbPattern::Only)];
    let model = prop::sample::select(vec!["*", "a", "a*", "b"]);
    (
        prop::collection::vec(pattern, 0..3),
        prop::collection::vec(model, 0..3),
    )
        .prop_map(|(verbs, models)| {
            let models = serde_yaml::to_value(models).unwrap();
            Rule {
                verbs,
                models: serde_yaml::from_value(models).unwrap(),
            }
        })
}

fn role() -> impl Strategy<Value = Role> {
    let rules = || prop::collection::vec(rule(), 0..3);
    (rules(), rules()).prop_map(|(allow, deny)| Role {
        allow,
        deny,
        ..Role::default()
    })
}

fn holding(roles: Vec<Role>) -> Policy {
    let roles: BTreeMap<_, _> = roles
        .into_iter()
        .enumerate()
        .map(|(index, role)| (index.to_string(), role))
        .collect();
    Policy {
        authenticated: roles.keys().cloned().collect(),
        roles,
        ..Policy::default()
    }
}

proptest! {
    #[test]
    fn a_deny_wins_whatever_else_is_held(
        mut roles in prop::collection::vec(role(), 0..4),
        verb in verb(),
        at in 0_usize..4,
    ) {
        let everything = || Rule { verbs: vec![VerbPattern::Only(verb)], models: every_model() };
        roles.push(Role { allow: vec![everything()], ..Role::default() });
        let deny = Role { deny: vec![everything()], ..Role::default() };
        roles.insert(at.min(roles.len()), deny);
        for model in ["", "a", "b"] {
            let decision = holding(roles.clone()).decide(&Identity::named("x"), verb, model);
            prop_assert_eq!(decision, Err(Refusal::Denied));
        }
    }

    #[test]
    fn a_further_role_without_deny_takes_nothing_away(
        roles in prop::collection::vec(role(), 0..4),
        mut more in role(),
        verb in verb(),
        model in prop::sample::select(vec!["", "a", "ab", "b", "c"]),
    ) {
        more.deny.clear();
        let before = holding(roles.clone()).decide(&Identity::named("x"), verb, model);
        let both = roles.into_iter().chain([more]).collect();
        let after = holding(both).decide(&Identity::named("x"), verb, model);
        if before != Err(Refusal::NotAllowed) {
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn what_is_allowed_was_allowed_by_some_rule(
        roles in prop::collection::vec(role(), 0..4),
        verb in verb(),
        model in prop::sample::select(vec!["", "a", "b", "c"]),
    ) {
        let policy = holding(roles.clone());
        if policy.decide(&Identity::named("x"), verb, model).is_ok() {
            let rules = roles.iter().flat_map(|role| &role.allow);
            prop_assert!(rules.into_iter().any(|rule| rule.allows(verb, model, true)));
        }
    }
}
