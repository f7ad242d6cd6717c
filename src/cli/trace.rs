//! Triton's `--trace-config`: `[<mode>,]<setting>=<value>`, given once for each setting.

use anyhow::{Context, Result, bail};

use crate::trace::{Config, Level};

/// Lays the settings over `config`. Levels that are given replace those that are there.
///
/// # Errors
/// For an unknown setting, a value that is none, or a mode that is not there yet.
pub(super) fn apply(config: &mut Config, settings: &[String]) -> Result<()> {
    let mut levels: Option<Vec<Level>> = None;
    for setting in settings {
        let (mode, assignment) = match setting.split_once(',') {
            Some((mode, assignment)) => (mode, assignment),
            None => ("", setting.as_str()),
        };
        let (key, value) = assignment
            .split_once('=')
            .with_context(|| format!("--trace-config {setting}: expected <setting>=<value>"))?;
        let number = || format!("--trace-config {setting}: '{value}' is no number");
        match (mode, key) {
            ("opentelemetry", _) | ("", "mode") if value != "triton" => {
                bail!("--trace-config {setting}: only the mode triton is there yet")
            }
            ("", "mode") => {}
            ("", "level") => {
                let levels = levels.get_or_insert_default();
                match level(value) {
                    Ok(Some(level)) => levels.push(level),
                    Ok(None) => levels.clear(),
                    Err(why) => bail!("--trace-config {setting}: {why}"),
                }
            }
            ("", "rate") => config.rate = value.parse().with_context(number)?,
            ("", "count") => config.count = value.parse().with_context(number)?,
            ("triton", "file") => config.file = Some(value.into()),
            ("triton", "log-frequency") => {
                config.log_frequency = value.parse().with_context(number)?;
            }
            _ => bail!(
                "--trace-config {setting}: unknown setting; there are mode, level, rate, count, \
                 triton,file and triton,log-frequency"
            ),
        }
    }
    config.levels = levels.unwrap_or_else(|| std::mem::take(&mut config.levels));
    Ok(())
}

/// A level by any of the names that Triton takes on its command line; `None` turns all off.
fn level(name: &str) -> Result<Option<Level>, String> {
    match name.to_ascii_uppercase().as_str() {
        "OFF" | "FALSE" => Ok(None),
        "TRUE" | "ON" | "MIN" | "MAX" => Ok(Some(Level::Timestamps)),
        name => name.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(settings: &[&str]) -> Result<Config> {
        let mut config = Config::default();
        let settings: Vec<_> = settings.iter().map(|&it| it.to_owned()).collect();
        apply(&mut config, &settings)?;
        Ok(config)
    }

    #[test]
    fn takes_tritons_settings() {
        let config = applied(&[
            "mode=triton",
            "triton,file=/tmp/trace.json",
            "triton,log-frequency=50",
            "level=TIMESTAMPS",
            "level=TENSORS",
            "rate=7",
            "count=-1",
        ]);
        let expected = Config {
            file: Some("/tmp/trace.json".into()),
            levels: vec![Level::Timestamps, Level::Tensors],
            rate: 7,
            log_frequency: 50,
            ..Config::default()
        };
        assert_eq!(config.unwrap(), expected);
        let older = applied(&["level=max"]).unwrap();
        assert_eq!(older.levels, [Level::Timestamps]);
        assert!(
            applied(&["level=TENSORS", "level=OFF"])
                .unwrap()
                .levels
                .is_empty()
        );
    }

    #[test]
    fn refuses_what_is_not_there() {
        for setting in [
            "mode=opentelemetry",
            "opentelemetry,url=http://127.0.0.1",
            "level=SOME",
            "rate=x",
            "colour=red",
            "file=x",
            "rate",
        ] {
            let error = applied(&[setting]).unwrap_err().to_string();
            assert!(error.starts_with("--trace-config "), "{error}");
        }
    }
}
