//! Reads the repository folders: which models there are, and which versions of each there should
//! be. Keeps no state and loads nothing; may be slow, so only the control loop calls it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    Config,
    fingerprint::{Fingerprint, Walk, list, unreadable},
    plan::Stamp,
};
use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::ModelFolder,
    model_config::{self, ModelConfig, VersionPolicy},
    proto::inference as pb,
};

/// The repository folders.
#[derive(Clone, Debug)]
pub(super) struct Source {
    repositories: Vec<PathBuf>,
    config_name: Option<String>,
    config_byte_limit: usize,
}

/// Which model folders there are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Names, and in which repositories.
    pub(super) models: BTreeMap<ModelName, Vec<PathBuf>>,
    /// What was passed over, and why.
    pub(super) warnings: Vec<String>,
    /// Whether every repository could be read: only then is what is missing known to be gone.
    pub(super) complete: bool,
}

/// One model's folder as it is now.
#[derive(Debug)]
pub(super) struct Found {
    /// Of everything that matters in it.
    pub(super) fingerprint: Fingerprint,
    /// When the newest file in it was changed.
    pub(super) newest: SystemTime,
    /// What was passed over, and why.
    pub(super) warnings: Vec<String>,
    contents: Result<Contents, String>,
}

/// What a model's folder holds.
#[derive(Debug)]
struct Contents {
    folder: ModelFolder,
    config: Result<pb::ModelConfig, String>,
    /// Of everything outside the version folders.
    shared: Fingerprint,
    versions: BTreeMap<u64, Fingerprint>,
}

/// Which versions of a model there should be.
#[derive(Clone, Debug)]
pub(super) struct Aspired {
    pub(super) folder: ModelFolder,
    pub(super) config: pb::ModelConfig,
    /// What each of them would be loaded from.
    pub(super) stamps: BTreeMap<u64, Stamp>,
    /// Versions that have a folder, aspired or not.
    pub(super) present: BTreeSet<u64>,
}

/// A configuration sent with a load call, and a number that no other has.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) config: pb::ModelConfig,
    pub(super) serial: u64,
}

/// Folders of a model, next to its versions, that its versions read.
const SHARED_FOLDERS: [&str; 3] = ["configs", "initial_state", "warmup"];

impl Source {
    /// Reads from the configured folders.
    ///
    /// # Errors
    /// `NotFound` with its path if one of them is no folder.
    pub(super) fn new(config: &Config) -> Result<Self> {
        let absolute = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            match list(&path) {
                Ok(_) => Ok(path),
                Err(error) => Err(Error::not_found(
                    "repository_missing",
                    format!("model repository {}: {error}", path.display()),
                )),
            }
        };
        Ok(Self {
            repositories: config
                .repositories
                .iter()
                .map(absolute)
                .collect::<Result<_>>()?,
            config_name: config.config_name.clone(),
            config_byte_limit: config.config_byte_limit,
        })
    }

    /// The repository folders, absolute.
    pub(super) fn repositories(&self) -> &[PathBuf] {
        &self.repositories
    }

    /// The model folders there are now.
    pub(super) fn list(&self) -> Listing {
        let mut listing = Listing {
            complete: true,
            ..Listing::default()
        };
        for repository in &self.repositories {
            let names = list(repository).unwrap_or_else(|error| {
                listing.complete = false;
                listing.warnings.push(unreadable(repository, &error));
                Vec::new()
            });
            for name in names {
                let path = repository.join(&name);
                if !path.is_dir() {
                    continue;
                }
                let text = name.to_string_lossy();
                match ModelName::new(&text) {
                    Ok(name) if path.file_name() == Some(name.as_ref()) => {
                        let places = listing.models.entry(name).or_default();
                        places.push(repository.clone());
                    }
                    Ok(_) => listing.warnings.push(format!(
                        "ignoring {}: its name is not Unicode",
                        path.display()
                    )),
                    Err(error) => {
                        let folder = path.display();
                        listing.warnings.push(format!("ignoring {folder}: {error}"));
                    }
                }
            }
        }
        listing
    }

    /// One model's folder, if there is one.
    pub(super) fn model(&self, name: &ModelName) -> Option<Found> {
        if name.starts_with('.') {
            return None;
        }
        let mut folders = Vec::new();
        for repository in &self.repositories {
            let folder = repository.join(name.as_str());
            match fs::metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => folders.push(folder),
                Ok(_) => {}
                // A repository that is away says nothing about its models.
                Err(error) if error.kind() == io::ErrorKind::NotFound && repository.is_dir() => {}
                Err(error) => return Some(Found::faulty(unreadable(&folder, &error))),
            }
        }
        match folders.len() {
            0 => None,
            1 => folders.pop().map(|folder| self.inspect(folder.into())),
            _ => Some(Found::faulty(
                "model appears in two or more repositories".to_owned(),
            )),
        }
    }

    /// What is in a model's folder.
    pub(super) fn inspect(&self, folder: ModelFolder) -> Found {
        let mut walk = Walk::new();
        let mut warnings = Vec::new();
        // Before the configuration is read: a change in between shows as one next time.
        let files = fingerprints(&folder, &mut walk, &mut warnings);
        let (shared, versions) = match files {
            Ok(files) => files,
            Err(reason) => return Found::faulty(reason),
        };
        let config = model_config::read_from_folder(
            &folder,
            self.config_name.as_deref(),
            self.config_byte_limit,
        );
        Found {
            fingerprint: Fingerprint::of((shared, &versions)),
            newest: walk.newest(),
            warnings,
            contents: Ok(Contents {
                config: config
                    .map(Option::unwrap_or_default)
                    .map_err(|error| error.to_string()),
                folder,
                shared,
                versions,
            }),
        }
    }
}

impl Found {
    /// Which versions there should be, by the model's own configuration or by `instead`.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn aspire(
        self,
        name: &ModelName,
        instead: Option<Override>,
    ) -> Result<Aspired, String> {
        let contents = self.contents?;
        let (config, origin) = match instead {
            Some(Override { config, serial }) => {
                let origin = Fingerprint::of(("override", serial, contents.shared));
                (config, origin)
            }
            None => (contents.config?, contents.shared),
        };
        let policy = ModelConfig::version_policy_of(&config).map_err(|error| error.to_string())?;
        let present: BTreeSet<u64> = contents.versions.keys().copied().collect();
        let stamps: BTreeMap<_, _> = eligible(&policy, &present)
            .into_iter()
            .filter_map(|version| {
                let files = *contents.versions.get(&version)?;
                Some((
                    version,
                    Stamp {
                        config: origin,
                        files,
                    },
                ))
            })
            .collect();
        if stamps.is_empty() {
            return Err(format!(
                "at least one version must be available under the version policy of model '{name}'"
            ));
        }
        Ok(Aspired {
            folder: contents.folder,
            config,
            stamps,
            present,
        })
    }

    /// Whether nothing in it was changed for as long as `window`.
    pub(super) fn is_quiet(&self, window: Duration, now: SystemTime) -> bool {
        now.duration_since(self.newest)
            .is_ok_and(|age| age >= window)
    }

    fn faulty(reason: String) -> Self {
        Self {
            fingerprint: Fingerprint::of(&reason),
            newest: SystemTime::UNIX_EPOCH,
            warnings: Vec::new(),
            contents: Err(reason),
        }
    }
}

/// Which of the versions present the policy asks for.
pub(super) fn eligible(policy: &VersionPolicy, present: &BTreeSet<u64>) -> BTreeSet<u64> {
    let versions = present.iter().copied();
    match policy {
        VersionPolicy::All => versions.collect(),
        VersionPolicy::Latest(count) => versions.rev().take(*count).collect(),
        VersionPolicy::Specific(wanted) => versions
            .filter(|version| wanted.contains(version))
            .collect(),
    }
}

/// The number that a version folder's name stands for: digits, no leading zero, more than zero,
/// and not more than a version policy can name.
pub(super) fn version_number(name: &str) -> Option<u64> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || name.starts_with('0') {
        return None;
    }
    name.parse()
        .ok()
        .filter(|&version| i64::try_from(version).is_ok())
}

fn fingerprints(
    folder: &Path,
    walk: &mut Walk,
    warnings: &mut Vec<String>,
) -> Result<(Fingerprint, BTreeMap<u64, Fingerprint>), String> {
    let mut shared = Vec::new();
    let mut versions = BTreeMap::new();
    for name in list(folder).map_err(|error| unreadable(folder, &error))? {
        let path = folder.join(&name);
        let text = name.to_string_lossy();
        if !path.is_dir() || SHARED_FOLDERS.contains(&text.as_ref()) {
            shared.push(walk.fingerprint(&path)?);
        } else if let Some(version) = version_number(&text) {
            versions.insert(version, walk.fingerprint(&path)?);
        } else {
            warnings.push(format!(
                "ignoring {}: the name of a version folder is a number from 1 without leading \
                 zeros",
                path.display()
            ));
        }
    }
    Ok((Fingerprint::of(shared), versions))
}
