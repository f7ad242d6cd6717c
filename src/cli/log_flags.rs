//! The flags on logs and traces.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{
    flags::{boolean, set},
    trace,
};
use crate::{config::Config, telemetry::logging::Format};

/// Flags; what is not given keeps what the file or the defaults say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct LogFlags {
    /// Log level or directives, such as info,despina::api=debug.
    #[arg(
        long,
        env = "DESPINA_LOG",
        value_name = "FILTER",
        help_heading = "Logs"
    )]
    log: Option<String>,
    /// Log as text, ISO8601 or json.
    #[arg(
        long,
        env = "DESPINA_LOG_FORMAT",
        value_name = "FORMAT",
        help_heading = "Logs"
    )]
    log_format: Option<Format>,
    /// Triton's verbosity: 1 is one line per request, more is everything.
    #[arg(long, value_name = "LEVEL", value_parser = verbosity, help_heading = "Logs")]
    log_verbose: Option<u32>,
    /// Log to this file instead of standard error.
    #[arg(
        long,
        env = "DESPINA_LOG_FILE",
        value_name = "FILE",
        help_heading = "Logs"
    )]
    log_file: Option<PathBuf>,
    /// Log lines of level info.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Logs")]
    log_info: Option<bool>,
    /// Log warnings.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Logs")]
    log_warning: Option<bool>,
    /// Log errors.
    #[arg(long, value_name = "BOOL", value_parser = boolean, help_heading = "Logs")]
    log_error: Option<bool>,

    /// Triton's trace settings, one each time: `level=TIMESTAMPS`, `rate=100`, `count=-1`,
    /// `triton,file=FILE`, `triton,log-frequency=50`.
    #[arg(long, value_name = "[MODE,]SETTING=VALUE", help_heading = "Logs")]
    trace_config: Vec<String>,
    #[command(flatten)]
    older: OlderTraceFlags,
}

/// What Triton's `--trace-config` was before, a flag for each setting.
#[derive(Args, Clone, Debug, Default)]
struct OlderTraceFlags {
    #[arg(long, value_name = "FILE", hide = true)]
    trace_file: Option<String>,
    #[arg(long, value_name = "LEVEL", hide = true)]
    trace_level: Vec<String>,
    #[arg(long, value_name = "COUNT", hide = true)]
    trace_rate: Option<String>,
    #[arg(long, value_name = "COUNT", hide = true)]
    trace_count: Option<String>,
    #[arg(long, value_name = "COUNT", hide = true)]
    trace_log_frequency: Option<String>,
}

impl OlderTraceFlags {
    /// The same as settings of `--trace-config`.
    fn settings(&self) -> Vec<String> {
        let levels = self.trace_level.iter().map(|it| ("level", it));
        let others = [
            ("triton,file", &self.trace_file),
            ("rate", &self.trace_rate),
            ("count", &self.trace_count),
            ("triton,log-frequency", &self.trace_log_frequency),
        ];
        let others = others.into_iter();
        levels
            .chain(others.filter_map(|(key, value)| Some((key, value.as_ref()?))))
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }
}

/// Triton takes booleans, too.
fn verbosity(text: &str) -> Result<u32, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(1),
        "false" => Ok(0),
        number => number
            .parse()
            .map_err(|error| format!("expected a level: {error}")),
    }
}

impl LogFlags {
    /// Lays the flags over `config`.
    ///
    /// # Errors
    /// If a trace setting is not known.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        let log = &mut config.log;
        set(&mut log.format, self.log_format);
        set(&mut log.filter, self.log.clone());
        set(&mut log.verbose_level, self.log_verbose);
        set(&mut log.info, self.log_info);
        set(&mut log.warning, self.log_warning);
        set(&mut log.error, self.log_error);
        if self.log_file.is_some() {
            log.file.clone_from(&self.log_file);
        }
        // What is set in both ways is as --trace-config says.
        let settings = [self.older.settings(), self.trace_config.clone()].concat();
        trace::apply(&mut config.trace, &settings)
    }
}
