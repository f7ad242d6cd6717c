//! Engines in a folder: for each a plan, and a record that is written last and makes it count. Several processes
//! may share a folder; all that is written comes to its name by a rename.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{
    key::EngineKey,
    source::{self, Digest},
    store::{EngineStore, Holding, Kept, Note, Record, evicted},
};
use crate::backend::Verdict;

/// A record is a few lines.
const RECORD_BYTE_LIMIT: u64 = 64 << 10;
/// Files that a build left behind are removed after so long.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// What unfinished files are called.
const PART: &str = ".part-";

/// Engines in a folder, of so many bytes in all.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    byte_limit: u64,
}

impl Folder {
    /// The store in that folder, which is made when it is needed first.
    pub(super) fn new(path: PathBuf, byte_limit: u64) -> Self {
        Self { path, byte_limit }
    }

    fn plan(&self, key: &EngineKey) -> PathBuf {
        self.path.join(format!("{key}.plan"))
    }

    fn record(&self, key: &EngineKey) -> PathBuf {
        self.path.join(format!("{key}.json"))
    }

    /// The record and its plan, if they fit each other.
    fn read(&self, key: &EngineKey) -> Result<Option<Kept>, String> {
        let (file, record) = (self.plan(key), self.record(key));
        let said = |error: io::Error| error.to_string();
        let byte_size = match fs::metadata(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(said)?.len(),
        };
        if byte_size > RECORD_BYTE_LIMIT {
            return Err(format!("its record is {byte_size} bytes long"));
        }
        let text = fs::read(&record).map_err(said)?;
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| format!("its record cannot be read: {error}"))?;
        let byte_size = fs::metadata(&file).map_err(said)?.len();
        // The digest is worth its time only for what can be right.
        record.verify(byte_size, &record.sha256)?;
        let digest = digest(&file).map_err(said)?;
        record.verify(byte_size, &digest.to_string())?;
        Ok(Some(Kept { file, record }))
    }

    fn write_record(&self, key: &EngineKey, record: &Record) -> io::Result<()> {
        let mut file = self.part()?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.as_file().sync_all()?;
        file.persist(self.record(key))?;
        Ok(())
    }

    fn part(&self) -> io::Result<NamedTempFile> {
        fs::create_dir_all(&self.path)?;
        tempfile::Builder::new()
            .prefix(PART)
            .tempfile_in(&self.path)
    }

    fn remove(&self, key: &EngineKey) {
        // The record first: without one the plan does not count. What cannot be removed is found out again.
        for file in [self.record(key), self.plan(key)] {
            let _ = fs::remove_file(file);
        }
    }

    /// Makes room, and removes what builds have left behind.
    fn sweep(&self) {
        let now = SystemTime::now();
        let mut holdings = Vec::new();
        for (path, metadata) in files(&self.path) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let age = metadata
                .modified()
                .ok()
                .and_then(|at| now.duration_since(at).ok());
            if name.starts_with(PART) && age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(&path);
            } else if let Some((Ok(key), "plan")) = name
                .split_once('.')
                .map(|(key, end)| (key.parse::<EngineKey>(), end))
            {
                holdings.push(self.holding(key, metadata.len()));
            }
        }
        for key in evicted(&holdings, self.byte_limit) {
            tracing::info!(%key, "an engine leaves the cache, which is full");
            self.remove(&key);
        }
    }

    fn holding(&self, name: EngineKey, byte_size: u64) -> Holding<EngineKey> {
        // Without a record it was never finished, and goes first.
        let touched = fs::metadata(self.record(&name)).and_then(|record| record.modified());
        let age = touched
            .ok()
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Holding {
            name,
            byte_size,
            used: age.unwrap_or_default(),
        }
    }
}

impl EngineStore for Folder {
    fn find(&self, key: &EngineKey) -> Option<Kept> {
        match self.read(key) {
            Ok(Some(kept)) => {
                // Says when it was used last; where that cannot be written, when it was kept.
                let record = fs::File::open(self.record(key));
                let _ = record.and_then(|file| file.set_modified(SystemTime::now()));
                Some(kept)
            }
            Ok(None) => None,
            Err(reason) => {
                let file = self.plan(key);
                tracing::warn!(file = %file.display(), reason, "an engine in the cache is not used, and removed");
                self.remove(key);
                None
            }
        }
    }

    fn stage(&self) -> io::Result<TempPath> {
        self.part().map(NamedTempFile::into_temp_path)
    }

    fn keep(&self, key: &EngineKey, staged: TempPath, note: &Note) -> io::Result<Kept> {
        let byte_size = fs::metadata(&staged)?.len();
        if byte_size > self.byte_limit {
            return Err(io::Error::other(format!(
                "it is {byte_size} bytes long, and the cache holds at most {} (tensorrt.engine_cache_byte_limit)",
                self.byte_limit
            )));
        }
        fs::File::open(&staged)?.sync_all()?;
        let record = Record {
            format: Record::FORMAT,
            byte_size,
            sha256: digest(&staged)?.to_string(),
            note: note.clone(),
            verdict: None,
        };
        let file = self.plan(key);
        staged.persist(&file)?;
        self.write_record(key, &record)?;
        self.sweep();
        Ok(Kept { file, record })
    }

    fn judge(&self, key: &EngineKey, verdict: &Verdict) {
        let written = match self.read(key) {
            Ok(Some(kept)) => {
                let verdict = Some(verdict.clone());
                self.write_record(
                    key,
                    &Record {
                        verdict,
                        ..kept.record
                    },
                )
            }
            // It was evicted or broken meanwhile.
            _ => return,
        };
        if let Err(error) = written {
            tracing::warn!(%key, %error, "what came of comparing an engine cannot be written down");
        }
    }

    fn timing_cache(&self, of: &str) -> PathBuf {
        let name: String = of
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        self.path.join(format!("timing-{name}.cache"))
    }
}

fn digest(file: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    source::add_file(&mut hasher, file)?;
    Ok(Digest::of(hasher))
}

/// The files in a folder; none if it cannot be read.
fn files(folder: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let with_metadata = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    with_metadata
        .filter(|(_, metadata)| metadata.is_file())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of that number.
    fn key(number: u8) -> EngineKey {
        format!("{number:02x}").repeat(32).parse().unwrap()
    }

    fn keep(store: &Folder, number: u8, bytes: &[u8]) -> io::Result<Kept> {
        let staged = store.stage()?;
        fs::write(&staged, bytes)?;
        store.keep(&key(number), staged, &Note::default())
    }

    /// As if it had been used at that second.
    fn used_at(store: &Folder, number: u8, second: u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let record = fs::File::open(store.record(&key(number))).unwrap();
        record.set_modified(at).unwrap();
    }

    fn rig(byte_limit: u64) -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path().join("engines"), byte_limit);
        (folder, store)
    }

    #[test]
    fn what_is_kept_is_found_until_a_byte_of_it_changes() {
        let (_folder, store) = rig(100);
        assert_eq!(store.find(&key(1)), None);
        let kept = keep(&store, 1, b"plan").unwrap();
        assert_eq!(store.find(&key(1)), Some(kept.clone()));
        assert_eq!(fs::read(&kept.file).unwrap(), b"plan");
        assert_eq!(store.find(&key(2)), None);
        fs::write(&kept.file, b"plam").unwrap();
        assert_eq!(store.find(&key(1)), None);
        assert!(!kept.file.exists(), "what is broken is removed");
    }

    #[test]
    fn broken_entries_are_misses() {
        type Breakage = fn(&Folder);
        let table: [(&str, Breakage); 6] = [
            ("shorter", |store| {
                fs::write(store.plan(&key(1)), b"pla").unwrap()
            }),
            ("no plan", |store| {
                fs::remove_file(store.plan(&key(1))).unwrap()
            }),
            ("no record", |store| {
                fs::remove_file(store.record(&key(1))).unwrap()
            }),
            ("empty record", |store| {
                fs::write(store.record(&key(1)), b"").unwrap()
            }),
            ("half a record", |store| {
                fs::write(store.record(&key(1)), b"{\"format\": 1").unwrap()
            }),
            ("huge record", |store| {
                fs::write(store.record(&key(1)), vec![b' '; 1 << 17]).unwrap();
            }),
        ];
        for (name, breakage) in table {
            let (_folder, store) = rig(100);
            keep(&store, 1, b"plan").unwrap();
            breakage(&store);
            assert_eq!(store.find(&key(1)), None, "{name}");
            keep(&store, 1, b"plan").unwrap();
            assert!(store.find(&key(1)).is_some(), "{name}");
        }
    }

    #[test]
    fn verdicts_stay_with_the_engine() {
        let (_folder, store) = rig(100);
        keep(&store, 1, b"plan").unwrap();
        let verdict = Verdict {
            check: "close".to_owned(),
            failure: Some("far".to_owned()),
        };
        store.judge(&key(1), &verdict);
        assert_eq!(
            store.find(&key(1)).unwrap().record.verdict,
            Some(verdict.clone())
        );
        // Of what is not there nothing is written.
        store.judge(&key(2), &verdict);
        assert_eq!(store.find(&key(2)), None);
    }

    #[test]
    fn the_engine_used_longest_ago_makes_room() {
        let (_folder, store) = rig(10);
        for number in [1, 2] {
            keep(&store, number, b"plan").unwrap();
            used_at(&store, number, u64::from(number));
        }
        assert!(store.find(&key(1)).is_some());
        keep(&store, 3, b"plan").unwrap();
        assert_eq!(store.find(&key(2)), None);
        assert!(store.find(&key(1)).is_some() && store.find(&key(3)).is_some());
        let message = keep(&store, 4, b"eleven bytes").unwrap_err().to_string();
        assert!(
            message.contains("12 bytes long, and the cache holds at most 10"),
            "{message}"
        );
    }

    #[test]
    fn nothing_unfinished_is_left_behind() {
        let (_folder, store) = rig(10);
        drop(store.stage().unwrap());
        assert_eq!(files(&store.path).len(), 0);
        let old = store.stage().unwrap();
        let at = SystemTime::now() - STALE - Duration::from_secs(1);
        fs::File::open(&old).unwrap().set_modified(at).unwrap();
        let fresh = store.stage().unwrap();
        keep(&store, 1, b"plan").unwrap();
        assert!(!old.exists() && fresh.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so() {
        let store = Folder::new(PathBuf::from("/dev/null/engines"), 10);
        assert_eq!(store.find(&key(1)), None);
        assert!(store.stage().is_err());
    }

    #[test]
    fn timing_caches_have_names_of_their_own() {
        let (_folder, store) = rig(10);
        let path = store.timing_cache("11.4.0 sm 9.0 580/1");
        assert_eq!(
            path.file_name().unwrap(),
            "timing-11.4.0-sm-9.0-580-1.cache"
        );
    }
}
