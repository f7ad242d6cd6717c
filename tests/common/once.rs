//! Folders that are made once and then shared by all test processes.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// The folder `<name>-<hash of key>` in the build's folder for tests; `make` fills it unless some
/// process has done so before. A folder that was left half made is made anew.
pub fn folder(name: &str, key: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = root.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = fs::File::create(folder.with_extension("lock")).expect("lock file");
    lock.lock().expect("lock");
    let complete = folder.join("complete");
    if !complete.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("remove what was left half made");
        }
        fs::create_dir_all(&folder).expect("make folder");
        make(&folder);
        fs::write(&complete, "").expect("mark as complete");
    }
    folder
}
