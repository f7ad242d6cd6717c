//! What an orchestrator asks: does it live, has it started, should it get requests. Pure, from the
//! server's stage and the repository's index, so that no probe ever waits for a load or a model.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::repository::{IndexEntry, UNLOADED, VersionState};

/// When `/readyz` says yes, once the server has started.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadinessPolicy {
    /// Which models have to be ready.
    pub models: ReadyModels,
    /// Their names, where they are named.
    pub required: Vec<String>,
}

/// Which models have to be ready.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyModels {
    /// Every version that is known, but for those that were unloaded on purpose.
    #[default]
    All,
    /// One version of one model.
    Any,
    /// A version of each model that is named.
    Required,
}

/// The answer to a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why not; `None` is yes.
    pub(super) reason: Option<&'static str>,
    /// Models that it is because of.
    pub(super) because: Vec<Cause>,
}

/// A model, or a version of it, that is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// Most models that an answer names.
const CAUSE_LIMIT: usize = 32;

const STARTING: &str = "the first models are being loaded";

/// Whether the first models were loaded, or have failed to load.
pub(super) fn started(stage: Stage, index: &[IndexEntry]) -> Verdict {
    if stage != Stage::Starting {
        return Verdict::default();
    }
    let loading = |entry: &&IndexEntry| entry.state == Some(VersionState::Loading);
    Verdict::no(STARTING, index.iter().filter(loading).map(Cause::of))
}

/// Whether requests are welcome.
pub(super) fn ready(policy: &ReadinessPolicy, stage: Stage, index: &[IndexEntry]) -> Verdict {
    match stage {
        Stage::Starting => return started(stage, index),
        Stage::Exiting => return Verdict::no("the server is exiting", []),
        Stage::Ready => {}
    }
    let is_ready = |entry: &IndexEntry| entry.state == Some(VersionState::Ready);
    match policy.models {
        ReadyModels::All => {
            let missing = index.iter().filter(|entry| is_missing(entry));
            Verdict::unless_none("not every model is ready", missing.map(Cause::of))
        }
        ReadyModels::Any if index.iter().any(is_ready) => Verdict::default(),
        ReadyModels::Any => Verdict::no("no model is ready", index.iter().map(Cause::of)),
        ReadyModels::Required => {
            let serves = |name: &String| {
                let mut entries = index.iter();
                entries.any(|entry| entry.name.as_str() == name && is_ready(entry))
            };
            let missing = policy.required.iter().filter(|name| !serves(name));
            let causes = missing.map(|name| Cause::of_model(name, index));
            Verdict::unless_none("a required model is not ready", causes)
        }
    }
}

/// Whether the version should serve and does not.
fn is_missing(entry: &IndexEntry) -> bool {
    match entry.state {
        None | Some(VersionState::Ready | VersionState::Unloading) => false,
        Some(VersionState::Loading) => true,
        Some(VersionState::Unavailable) => entry.reason != UNLOADED,
    }
}

impl Verdict {
    pub(super) fn no(reason: &'static str, because: impl IntoIterator<Item = Cause>) -> Self {
        Self {
            reason: Some(reason),
            because: because.into_iter().take(CAUSE_LIMIT).collect(),
        }
    }

    fn unless_none(reason: &'static str, because: impl Iterator<Item = Cause>) -> Self {
        let verdict = Self::no(reason, because);
        if verdict.because.is_empty() {
            return Self::default();
        }
        verdict
    }
}

impl Cause {
    fn of(entry: &IndexEntry) -> Self {
        Self {
            name: entry.name.as_str().to_owned(),
            version: entry.version.map(|version| version.to_string()),
            state: entry.state.map(VersionState::name),
            reason: entry.reason.clone(),
        }
    }

    /// The first that is known of a model by name.
    fn of_model(name: &str, index: &[IndexEntry]) -> Self {
        let known = index.iter().find(|entry| entry.name.as_str() == name);
        known.map_or_else(
            || Self {
                name: name.to_owned(),
                version: None,
                state: None,
                reason: "no such model".to_owned(),
            },
            Self::of,
        )
    }
}

impl FromStr for ReadyModels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "any" => Ok(Self::Any),
            "required" => Ok(Self::Required),
            _ => Err(format!("expected 'all', 'any' or 'required', got '{text}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ModelName;

    fn entry(name: &str, state: Option<VersionState>, reason: &str) -> IndexEntry {
        IndexEntry {
            name: ModelName::new(name).unwrap(),
            version: state.map(|_| 1),
            state,
            reason: reason.to_owned(),
        }
    }

    /// One that serves, one unloaded on purpose, one never loaded, and one as given.
    fn index(state: VersionState, reason: &str) -> Vec<IndexEntry> {
        vec![
            entry("a", Some(VersionState::Ready), ""),
            entry("b", Some(VersionState::Unavailable), UNLOADED),
            entry("c", None, ""),
            entry("d", Some(state), reason),
        ]
    }

    fn policy(models: ReadyModels, required: &[&str]) -> ReadinessPolicy {
        ReadinessPolicy {
            models,
            required: required.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn causes(verdict: &Verdict) -> Vec<&str> {
        verdict.because.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn all_means_all_that_should_serve() {
        let all = policy(ReadyModels::All, &[]);
        for (state, reason, missing) in [
            (VersionState::Ready, "", false),
            (VersionState::Unloading, "", false),
            (VersionState::Loading, "", true),
            (VersionState::Unavailable, "broken", true),
            (VersionState::Unavailable, UNLOADED, false),
        ] {
            let verdict = ready(&all, Stage::Ready, &index(state, reason));
            assert_eq!(verdict.reason.is_some(), missing, "{state:?} {reason}");
            assert_eq!(causes(&verdict), if missing { vec!["d"] } else { vec![] });
        }
        assert_eq!(ready(&all, Stage::Ready, &[]), Verdict::default());
    }

    #[test]
    fn any_means_one_and_required_those_that_are_named() {
        let loading = index(VersionState::Loading, "");
        let any = policy(ReadyModels::Any, &[]);
        assert_eq!(ready(&any, Stage::Ready, &loading), Verdict::default());
        let verdict = ready(&any, Stage::Ready, &loading[1..]);
        assert_eq!(verdict.reason, Some("no model is ready"));
        let a = policy(ReadyModels::Required, &["a"]);
        assert_eq!(ready(&a, Stage::Ready, &loading), Verdict::default());
        let more = policy(ReadyModels::Required, &["a", "b", "nowhere"]);
        let verdict = ready(&more, Stage::Ready, &loading);
        assert_eq!(causes(&verdict), ["b", "nowhere"]);
        assert_eq!(verdict.because[1].reason, "no such model");
    }

    #[test]
    fn a_server_that_starts_or_ends_is_not_ready_whatever_its_models() {
        let any = policy(ReadyModels::Any, &[]);
        let index = index(VersionState::Loading, "");
        let starting = ready(&any, Stage::Starting, &index);
        assert_eq!(
            (starting.reason, causes(&starting)),
            (Some(STARTING), vec!["d"])
        );
        assert_eq!(started(Stage::Starting, &index), starting);
        assert_eq!(started(Stage::Ready, &index), Verdict::default());
        let exiting = ready(&any, Stage::Exiting, &index);
        assert_eq!(exiting.reason, Some("the server is exiting"));
    }

    #[test]
    fn an_answer_names_only_so_many_models() {
        let all = policy(ReadyModels::All, &[]);
        let entries: Vec<_> = (0..100)
            .map(|number| entry(&format!("m{number}"), Some(VersionState::Loading), ""))
            .collect();
        let verdict = ready(&all, Stage::Ready, &entries);
        assert_eq!(verdict.because.len(), CAUSE_LIMIT);
    }
}
