//! Tells whether files are the same as they were, without reading them: a digest of every path,
//! size, modification time and inode under a folder.

use std::{
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Equal for files that were not changed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64);

/// Most files and folders of one model.
const ENTRY_LIMIT: usize = 65_536;
/// Deepest nesting of a model's folders; also ends circles of symbolic links.
const DEPTH_LIMIT: usize = 32;

/// Reads folders, within one model's bounds.
#[derive(Debug)]
pub(super) struct Walk {
    entries_left: usize,
    newest: SystemTime,
}

impl Fingerprint {
    /// What is not there.
    pub(super) const ABSENT: Self = Self(0);

    /// The digest of a sequence of anything.
    pub(super) fn of(parts: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Walk {
    /// A walk through one model.
    pub(super) fn new() -> Self {
        Self {
            entries_left: ENTRY_LIMIT,
            newest: SystemTime::UNIX_EPOCH,
        }
    }

    /// When the newest of all files and folders seen so far was changed.
    pub(super) fn newest(&self) -> SystemTime {
        self.newest
    }

    /// The fingerprint of a file, or of a folder with all that is in it. Names that begin with a
    /// dot do not count, and links are followed.
    pub(super) fn fingerprint(&mut self, path: &Path) -> Result<Fingerprint, String> {
        let mut hasher = DefaultHasher::new();
        self.add(path, DEPTH_LIMIT, &mut hasher)?;
        Ok(Fingerprint(hasher.finish()))
    }

    fn add(&mut self, path: &Path, depth: usize, hasher: &mut DefaultHasher) -> Result<(), String> {
        self.entries_left = self
            .entries_left
            .checked_sub(1)
            .ok_or_else(|| format!("the folder holds more than {ENTRY_LIMIT} files"))?;
        path.file_name().hash(hasher);
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Gone since the folder was listed, or a link to nothing: just a name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(path, &error)),
        };
        self.newest = self.newest.max(changed(&metadata));
        metadata.is_dir().hash(hasher);
        if !metadata.is_dir() {
            metadata.len().hash(hasher);
            metadata.mtime().hash(hasher);
            metadata.mtime_nsec().hash(hasher);
            metadata.ino().hash(hasher);
            // A copy that keeps its times (cp -p) may meet the same size and even the same inode.
            metadata.ctime().hash(hasher);
            metadata.ctime_nsec().hash(hasher);
            return Ok(());
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!(
                "{}: more than {DEPTH_LIMIT} folders deep",
                path.display()
            ));
        };
        let names = list(path).map_err(|error| unreadable(path, &error))?;
        names.len().hash(hasher);
        names
            .iter()
            .try_for_each(|name| self.add(&path.join(name), depth, hasher))
    }
}

/// The names in a folder, in order, without those that begin with a dot.
pub(super) fn list(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What to say of something that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// The later of both clocks: tools set the modification time back, nobody the change time.
fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or(0);
    let status = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds));
    let contents = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let status = SystemTime::UNIX_EPOCH.checked_add(status);
    status.map_or(contents, |status| status.max(contents))
}
