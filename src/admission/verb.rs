//! The acts that a caller can be allowed or denied. Every route and every RPC is one of them.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Ask whether the server, or a model, is live or ready.
    Health,
    /// Read the server's or a model's metadata.
    Metadata,
    /// Read a model's configuration.
    Config,
    /// Read what models have done.
    Statistics,
    /// Read the metrics page.
    Metrics,
    /// Run a model.
    Infer,
    /// List the repository.
    Index,
    /// Load or reload a model.
    Load,
    /// Unload a model.
    Unload,
    /// See, register or unregister shared-memory regions.
    SharedMemory,
    /// Read or change trace settings.
    Trace,
    /// Read or change log settings.
    Logging,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 12] = [
        Self::Health,
        Self::Metadata,
        Self::Config,
        Self::Statistics,
        Self::Metrics,
        Self::Infer,
        Self::Index,
        Self::Load,
        Self::Unload,
        Self::SharedMemory,
        Self::Trace,
        Self::Logging,
    ];

    /// The name that policies use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Config => "config",
            Self::Statistics => "statistics",
            Self::Metrics => "metrics",
            Self::Infer => "infer",
            Self::Index => "index",
            Self::Load => "load",
            Self::Unload => "unload",
            Self::SharedMemory => "shared_memory",
            Self::Trace => "trace",
            Self::Logging => "logging",
        }
    }

    /// Whether it changes the server for everybody. Only a rule that names such a verb grants it to
    /// a caller without credentials; `*` does not.
    pub fn is_management(self) -> bool {
        match self {
            Self::Load | Self::Unload | Self::SharedMemory | Self::Trace | Self::Logging => true,
            Self::Health
            | Self::Metadata
            | Self::Config
            | Self::Statistics
            | Self::Metrics
            | Self::Infer
            | Self::Index => false,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A verb as policies write it: its name, or `*` for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerbPattern {
    Any,
    Only(Verb),
}

/// What a policy may write; the first is [`VerbPattern::Any`].
const NAMES: &[&str] = &[
    "*",
    "health",
    "metadata",
    "config",
    "statistics",
    "metrics",
    "infer",
    "index",
    "load",
    "unload",
    "shared_memory",
    "trace",
    "logging",
];

impl<'de> Deserialize<'de> for VerbPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "*" {
            return Ok(Self::Any);
        }
        Verb::ALL
            .into_iter()
            .find(|verb| verb.name() == name)
            .map(Self::Only)
            .ok_or_else(|| D::Error::unknown_variant(&name, NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_can_be_written_in_a_policy() {
        let names: Vec<_> = Verb::ALL.iter().map(|verb| verb.name()).collect();
        assert_eq!(NAMES[1..], names);
        for verb in Verb::ALL {
            let read: VerbPattern = serde_yaml::from_str(verb.name()).unwrap();
            assert_eq!(read, VerbPattern::Only(verb));
        }
        let any: VerbPattern = serde_yaml::from_str("'*'").unwrap();
        assert_eq!(any, VerbPattern::Any);
        let error = serde_yaml::from_str::<VerbPattern>("infr").unwrap_err();
        assert!(error.to_string().contains("unknown variant `infr`"));
    }
}
