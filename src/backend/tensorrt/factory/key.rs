//! What an engine is kept under: everything that makes it what it is. Pure.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use tensorrt_sys::Version;

use super::{recipe::Recipe, source::Digest};

/// Changes when what a key is made of does.
const SCHEME: &str = "despina engine 1";

/// What an engine is made of, and for.
#[derive(Clone, Debug)]
pub(super) struct KeyParts<'a> {
    /// The model's bytes.
    pub(super) model: Digest,
    /// The compute capability of the device that it is built on.
    pub(super) capability: (u32, u32),
    /// The driver's version.
    pub(super) driver: &'a str,
    /// TensorRT's version.
    pub(super) tensorrt: Version,
    /// The libraries of plugins, in order.
    pub(super) plugins: &'a [Digest],
    /// Profiles and flags.
    pub(super) recipe: &'a Recipe,
}

/// The name of an engine in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EngineKey(Digest);

impl KeyParts<'_> {
    /// The key. Engines of equal keys are interchangeable.
    pub(super) fn key(&self) -> EngineKey {
        let Recipe {
            precision,
            hardware,
            version_compatible,
            weight_streaming,
            optimization_level,
            workspace_byte_limit,
            profiles,
        } = self.recipe;
        let (major, minor) = self.capability;
        let mut parts = vec![
            SCHEME.to_owned(),
            format!("model {}", self.model),
            format!("capability {major}.{minor}"),
            format!("driver {}", self.driver),
            format!("tensorrt {}", self.tensorrt),
            format!("precision {}", precision.name()),
            format!("hardware {}", hardware.name()),
            format!("version compatible {version_compatible}"),
            format!("weight streaming {weight_streaming}"),
            format!("level {optimization_level:?}"),
            format!("workspace {workspace_byte_limit:?}"),
        ];
        parts.extend(profiles.iter().map(|profile| format!("profile {profile}")));
        parts.extend(
            self.plugins
                .iter()
                .map(|plugin| format!("plugins {plugin}")),
        );
        EngineKey(digest(&parts))
    }
}

impl fmt::Display for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EngineKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(());
        }
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or(())?;
            *byte = u8::from_str_radix(digits, 16).map_err(drop)?;
        }
        Ok(Self(Digest(bytes)))
    }
}

/// Each part with its length, so that no two lists run together.
fn digest(parts: &[String]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Digest::of(hasher)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{
        super::recipe::{Hardware, Precision},
        *,
    };

    #[test]
    fn every_part_changes_the_key() {
        let profile = |text: &str| text.parse().unwrap();
        let plain = Recipe {
            profiles: vec![profile("x=1/2/3")],
            ..Recipe::default()
        };
        let recipes = [
            Recipe {
                precision: Precision::Fp32,
                ..plain.clone()
            },
            Recipe {
                precision: Precision::Fp16,
                ..plain.clone()
            },
            Recipe {
                hardware: Hardware::AmperePlus,
                ..plain.clone()
            },
            Recipe {
                version_compatible: true,
                ..plain.clone()
            },
            Recipe {
                weight_streaming: true,
                ..plain.clone()
            },
            Recipe {
                optimization_level: Some(0),
                ..plain.clone()
            },
            Recipe {
                workspace_byte_limit: Some(0),
                ..plain.clone()
            },
            Recipe {
                profiles: Vec::new(),
                ..plain.clone()
            },
            Recipe {
                profiles: vec![profile("x=1/2/4")],
                ..plain.clone()
            },
            Recipe {
                profiles: vec![profile("y=1/2/3")],
                ..plain.clone()
            },
            Recipe {
                profiles: vec![profile("x=1/2/3"); 2],
                ..plain.clone()
            },
        ];
        let model = Digest([1; 32]);
        let parts = |recipe| KeyParts {
            model,
            capability: (9, 0),
            driver: "580.1",
            tensorrt: Version::from_number(110_400),
            plugins: &[],
            recipe,
        };
        let mut keys: Vec<_> = recipes.iter().map(|recipe| parts(recipe).key()).collect();
        keys.extend(
            [
                parts(&plain),
                KeyParts {
                    model: Digest([2; 32]),
                    ..parts(&plain)
                },
                KeyParts {
                    capability: (8, 0),
                    ..parts(&plain)
                },
                KeyParts {
                    capability: (9, 1),
                    ..parts(&plain)
                },
                KeyParts {
                    driver: "580.2",
                    ..parts(&plain)
                },
                KeyParts {
                    tensorrt: Version::from_number(110_401),
                    ..parts(&plain)
                },
                KeyParts {
                    plugins: &[model],
                    ..parts(&plain)
                },
                KeyParts {
                    plugins: &[model, model],
                    ..parts(&plain)
                },
            ]
            .map(|parts| parts.key()),
        );
        let count = keys.len();
        let distinct: HashSet<_> = keys.into_iter().collect();
        assert_eq!(distinct.len(), count);
        assert_eq!(parts(&plain).key(), parts(&plain.clone()).key());
    }

    #[test]
    fn keys_are_names_of_files_and_back() {
        let key = EngineKey(Digest([0xa7; 32]));
        let text = key.to_string();
        assert_eq!((text.len(), text.parse()), (64, Ok(key)));
        for odd in [
            "",
            "a7",
            &text[1..],
            &format!("{}g", &text[1..]),
            &format!("{}é", &text[2..]),
        ] {
            assert!(odd.parse::<EngineKey>().is_err(), "{odd}");
        }
    }
}
