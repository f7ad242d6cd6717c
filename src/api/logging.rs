//! Triton's logging extension, as both doors have it: names of settings, their types, and what may
//! be changed.

use super::{admit::Admitted, excerpt};
use crate::{
    error::{Error, Result},
    inference::Parameter,
    telemetry::logging::{Change, Settings},
};

/// Takes one setting into `change`.
///
/// # Errors
/// `Unimplemented` for the log file, `InvalidArgument` for an unknown setting or a value that is
/// not one of its values.
pub(super) fn set(change: &mut Change, name: &str, value: &Parameter) -> Result<()> {
    match name {
        "log_file" => return Err(file_is_fixed()),
        "log_info" => change.info = Some(boolean(name, value)?),
        "log_warning" => change.warning = Some(boolean(name, value)?),
        "log_error" => change.error = Some(boolean(name, value)?),
        "log_verbose_level" => change.verbose_level = Some(level(name, value)?),
        "log_format" => {
            let Parameter::String(text) = value else {
                return Err(wrong_type(name, "string"));
            };
            let format = text.parse().map_err(|_| {
                let message = format!("invalid argument for log_format, got: {}", excerpt(text));
                Error::invalid_argument("log_format", message)
            })?;
            change.format = Some(format);
        }
        _ => {
            return Err(Error::invalid_argument(
                "unknown_setting",
                format!(
                    "unknown logging setting '{}', there are log_file, log_info, log_warning, \
                     log_error, log_verbose_level and log_format",
                    excerpt(name)
                ),
            ));
        }
    }
    Ok(())
}

/// Every setting's name and value.
pub(super) fn shown(settings: Settings) -> [(&'static str, Parameter); 6] {
    [
        ("log_file", Parameter::String(settings.file)),
        ("log_info", Parameter::Bool(settings.info)),
        ("log_warning", Parameter::Bool(settings.warning)),
        ("log_error", Parameter::Bool(settings.error)),
        (
            "log_verbose_level",
            Parameter::Uint(settings.verbose_level.into()),
        ),
        (
            "log_format",
            Parameter::String(settings.format.name().to_owned()),
        ),
    ]
}

/// Changes what is logged, and says so; tells what is logged then.
pub(super) fn update(api: &Admitted<'_>, change: &Change) -> Settings {
    if *change != Change::default() {
        api.logging().change(change);
        tracing::info!(?change, "logging was changed by a client");
    }
    api.logging().settings()
}

/// The error for a client that would have the server write to another file.
fn file_is_fixed() -> Error {
    Error::unimplemented(
        "log_file",
        "log file location can not be updated through network protocol",
    )
}

fn boolean(name: &str, value: &Parameter) -> Result<bool> {
    match value {
        Parameter::Bool(value) => Ok(*value),
        _ => Err(wrong_type(name, "boolean")),
    }
}

fn level(name: &str, value: &Parameter) -> Result<u32> {
    let level = match value {
        Parameter::Int(level) => u32::try_from(*level).ok(),
        Parameter::Uint(level) => u32::try_from(*level).ok(),
        _ => None,
    };
    let fits = level.filter(|&level| i32::try_from(level).is_ok());
    fits.ok_or_else(|| wrong_type(name, "int32"))
}

fn wrong_type(name: &str, expected: &str) -> Error {
    Error::invalid_argument("setting_type", format!("expect {expected} for '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, telemetry::logging::Format};

    #[test]
    fn every_setting_but_the_file_can_be_changed() {
        let mut change = Change::default();
        for (name, value) in [
            ("log_info", Parameter::Bool(false)),
            ("log_warning", Parameter::Bool(true)),
            ("log_error", Parameter::Bool(false)),
            ("log_verbose_level", Parameter::Int(2)),
            ("log_format", Parameter::String("ISO8601".to_owned())),
        ] {
            set(&mut change, name, &value).unwrap();
        }
        let expected = Change {
            info: Some(false),
            warning: Some(true),
            error: Some(false),
            verbose_level: Some(2),
            format: Some(Format::Iso8601),
        };
        assert_eq!(change, expected);
        let file = Parameter::String("x.log".to_owned());
        let error = set(&mut change, "log_file", &file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unimplemented);
    }

    #[test]
    fn wrong_types_values_and_names_are_refused() {
        for (name, value, why) in [
            (
                "log_info",
                Parameter::Int(1),
                "expect boolean for 'log_info'",
            ),
            ("log_error", Parameter::String("true".into()), "boolean"),
            ("log_verbose_level", Parameter::Int(-1), "expect int32"),
            ("log_verbose_level", Parameter::Int(1 << 31), "expect int32"),
            ("log_verbose_level", Parameter::String("1".into()), "int32"),
            ("log_format", Parameter::Bool(true), "expect string"),
            (
                "log_format",
                Parameter::String("xml".into()),
                "invalid argument for log_format, got: xml",
            ),
            ("log_warnings", Parameter::Bool(true), "there are log_file"),
        ] {
            let error = set(&mut Change::default(), name, &value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
