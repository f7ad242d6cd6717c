//! Keys of POSIX shared memory, which are names of files and come from clients.

use std::path::{Path, PathBuf};

use super::{refuse, region::excerpt};
use crate::error::Result;

/// What Triton's own regions are called; clients must not reach those of a server beside this one.
pub const RESERVED_PREFIX: &str = "triton_python_backend_shm_region_";

/// Longest name of a file, in bytes (`NAME_MAX`).
const MOST_BYTES: usize = 255;

/// A key that is one component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// Takes a client's `key`, with or without the slash in front that POSIX asks for, for its
    /// region `name`.
    ///
    /// # Errors
    /// `InvalidArgument` unless it names a file and is not reserved.
    pub(super) fn new(name: &str, key: &str) -> Result<Self> {
        let file_name = key.trim_start_matches('/');
        let valid = !matches!(file_name, "" | "." | "..")
            && file_name.len() <= MOST_BYTES
            && !file_name.contains(['/', '\0']);
        if !valid {
            return Err(refuse(format!(
                "cannot register shared memory region '{name}' - invalid shm key '{}': a key is one \
                 name of at most {MOST_BYTES} bytes, with or without '/' in front",
                excerpt(key)
            )));
        }
        if file_name.starts_with(RESERVED_PREFIX) {
            return Err(refuse(format!(
                "cannot register shared memory region '{name}' with key '{}' as the key contains \
                 the reserved prefix '{RESERVED_PREFIX}'",
                excerpt(key)
            )));
        }
        Ok(Self(file_name.to_owned()))
    }

    /// Where its file is.
    pub(super) fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_name() {
        let folder = Path::new("/dev/shm");
        for (key, path) in [
            ("/input", "/dev/shm/input"),
            ("input", "/dev/shm/input"),
            ("//input", "/dev/shm/input"),
            ("/...", "/dev/shm/..."),
            ("/.hidden", "/dev/shm/.hidden"),
        ] {
            assert_eq!(Key::new("r", key).unwrap().path_in(folder), Path::new(path));
        }
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for key in [
            "",
            "/",
            "///",
            ".",
            "..",
            "/..",
            "/../etc/passwd",
            "a/b",
            "/a/",
            "a\0b",
        ] {
            let error = Key::new("r", key).unwrap_err();
            assert!(error.message().contains("one name"), "{key:?}: {error}");
        }
        assert!(Key::new("r", &"x".repeat(255)).is_ok());
        assert!(Key::new("r", &"x".repeat(256)).is_err());
    }

    #[test]
    fn the_regions_of_a_triton_are_not_to_be_had() {
        for slashes in ["", "/", "//"] {
            let key = format!("{slashes}{RESERVED_PREFIX}1");
            let error = Key::new("r", &key).unwrap_err();
            let words = format!(
                "cannot register shared memory region 'r' with key '{key}' as the key contains the \
                 reserved prefix '{RESERVED_PREFIX}'"
            );
            assert_eq!(error.message(), words);
        }
    }
}
