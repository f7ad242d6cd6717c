//! What may come with a load or an unload call, taken in parameter by parameter by either door.

use bytes::Bytes;

use super::{excerpt, request::within};
use crate::{
    admission::Limits,
    error::{Error, Result},
    repository::{OverrideFile, Overrides},
};

/// A load call's parameters, within the limits.
#[derive(Debug)]
pub(super) struct LoadParameters<'l> {
    limits: &'l Limits,
    overrides: Overrides,
    count: usize,
    file_byte_size: usize,
}

impl<'l> LoadParameters<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            overrides: Overrides::default(),
            count: 0,
            file_byte_size: 0,
        }
    }

    /// Takes in the parameter `config`.
    ///
    /// # Errors
    /// `InvalidArgument` if it is too long or came before.
    pub(super) fn set_config(&mut self, config: &str) -> Result<()> {
        self.count()?;
        let limit = self.limits.config_byte_size;
        within("length of parameter 'config'", config.len(), limit)?;
        if self.overrides.config.is_some() {
            return Err(given_twice("config"));
        }
        self.overrides.config = Some(config.to_owned());
        Ok(())
    }

    /// Takes in a parameter `file:<path>`.
    ///
    /// # Errors
    /// `InvalidArgument` if there are too many, if they are too large, or if it came before.
    pub(super) fn add_file(&mut self, path: &str, contents: Bytes) -> Result<()> {
        self.count()?;
        within(
            "length of a file parameter's name",
            path.len(),
            self.limits.text_byte_size,
        )?;
        self.file_byte_size = self.file_byte_size.saturating_add(contents.len());
        within(
            "bytes of the files in a load request",
            self.file_byte_size,
            self.limits.load_file_byte_size,
        )?;
        if self.overrides.files.iter().any(|file| file.path == path) {
            return Err(given_twice(path));
        }
        self.overrides.files.push(OverrideFile {
            path: path.to_owned(),
            contents,
        });
        Ok(())
    }

    /// All that was taken in.
    pub(super) fn finish(self) -> Overrides {
        self.overrides
    }

    fn count(&mut self) -> Result<()> {
        self.count += 1;
        within(
            "number of load parameters",
            self.count,
            self.limits.parameters,
        )
    }
}

/// The path in a parameter's name `file:<path>`.
pub(super) fn file_path(parameter: &str) -> Option<&str> {
    parameter.strip_prefix("file:")
}

/// The error for a parameter that a load call does not have.
pub(super) fn unknown_load_parameter(name: &str) -> Error {
    Error::invalid_argument(
        "unknown_parameter",
        format!("unrecognized load parameter '{}'.", excerpt(name)),
    )
}

fn given_twice(name: &str) -> Error {
    Error::invalid_argument(
        "duplicate_parameter",
        format!("load parameter '{}' is given twice", excerpt(name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            parameters: 3,
            config_byte_size: 2,
            text_byte_size: 8,
            load_file_byte_size: 5,
            ..Limits::default()
        }
    }

    #[test]
    fn takes_in_what_is_within_the_limits() {
        let limits = limits();
        let mut parameters = LoadParameters::new(&limits);
        parameters.set_config("{}").unwrap();
        parameters
            .add_file("1/a", Bytes::from_static(b"abc"))
            .unwrap();
        parameters
            .add_file("12345678", Bytes::from_static(b"de"))
            .unwrap();
        let overrides = parameters.finish();
        assert_eq!(overrides.config.as_deref(), Some("{}"));
        assert_eq!(overrides.files[0].path, "1/a");
        assert_eq!(overrides.files[1].contents, "de");
    }

    #[test]
    fn refuses_what_is_beyond_them() {
        let limits = limits();
        let refused = |take: &dyn Fn(&mut LoadParameters<'_>) -> Result<()>| {
            let mut parameters = LoadParameters::new(&limits);
            take(&mut parameters).unwrap_err().message().to_owned()
        };
        let add = |parameters: &mut LoadParameters<'_>, path: &str, contents: &'static str| {
            parameters.add_file(path, Bytes::from_static(contents.as_bytes()))
        };
        assert!(refused(&|it| it.set_config("{ }")).contains("limit of 2"));
        assert!(refused(&|it| add(it, "123456789", "")).contains("limit of 8"));
        assert!(refused(&|it| add(it, "a", "abc").and(add(it, "b", "def"))).contains("limit of 5"));
        assert!(refused(&|it| add(it, "a", "").and(add(it, "a", ""))).contains("twice"));
        let four = |it: &mut LoadParameters<'_>| {
            (0..4).try_for_each(|number| add(it, &number.to_string(), ""))
        };
        assert!(refused(&four).contains("limit of 3"));
    }
}
