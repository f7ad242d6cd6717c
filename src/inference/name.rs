//! Model names: checked once, where they are parsed.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use crate::error::{Error, Result};

/// A model's name: also the name of its folder, so it can hold nothing that a path would obey.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// Longest accepted name, in bytes (the longest file name that common file systems take).
    pub const MAX_BYTE_SIZE: usize = 255;

    /// Checks `name`.
    ///
    /// # Errors
    /// `InvalidArgument` if it is empty, too long, `.`, `..`, or holds `/`, `\` or a control
    /// character.
    pub fn new(name: &str) -> Result<Self> {
        let fault = if name.is_empty() {
            "must not be empty".to_owned()
        } else if name.len() > Self::MAX_BYTE_SIZE {
            format!(
                "is {} bytes long, the limit is {}",
                name.len(),
                Self::MAX_BYTE_SIZE
            )
        } else if name == "." || name == ".." {
            "must not be '.' or '..'".to_owned()
        } else if let Some(bad) = name
            .chars()
            .find(|c| matches!(c, '/' | '\\') || c.is_control())
        {
            format!("must not contain {bad:?}")
        } else {
            return Ok(Self(name.into()));
        };
        let shown: String = name.chars().take(64).collect();
        Err(Error::invalid_argument(
            "model_name",
            format!("invalid model name '{}': {fault}", shown.escape_debug()),
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ModelName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_a_path_would_obey() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "../x",
            "a\0b",
            "a\nb",
            &"x".repeat(256),
        ] {
            assert!(ModelName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn accepts_what_repositories_hold() {
        for good in [
            "simple",
            "resnet-50.v2",
            "naïve model",
            "...",
            &"x".repeat(255),
        ] {
            assert_eq!(ModelName::new(good).unwrap().as_str(), good);
        }
    }
}
