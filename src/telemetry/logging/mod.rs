//! Structured logs on standard error or in a file, as text or as JSON lines. Client strings go in as
//! fields, which every format escapes. What is logged, and how it looks, can be changed while the
//! process runs; where it goes cannot.

mod gate;
mod line;

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{MakeWriter, layer as written},
    layer::{Layered, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use self::{gate::Gate, line::Iso8601Line};

/// Logs.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// A level, or directives such as `info,despina::api=debug`.
    pub filter: String,
    /// Where lines are appended, instead of standard error.
    pub file: Option<PathBuf>,
    /// Whether what `filter` lets through is written at level info (Triton's `--log-info`).
    pub info: bool,
    /// The same for warnings.
    pub warning: bool,
    /// The same for errors.
    pub error: bool,
    /// Triton's `--log-verbose`: from 1 on the server's debug lines, from 2 on all of its lines,
    /// whatever `filter` says.
    pub verbose_level: u32,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    #[serde(alias = "default")]
    Text,
    /// Triton's format of that name: time, a letter for the level, process, place, message.
    #[serde(alias = "ISO8601")]
    Iso8601,
    /// One JSON object a line.
    Json,
}

/// What is logged and how, as Triton's logging extension shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Settings {
    /// Empty for standard error.
    pub file: String,
    pub info: bool,
    pub warning: bool,
    pub error: bool,
    pub verbose_level: u32,
    pub format: Format,
}

/// What to change; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change {
    pub info: Option<bool>,
    pub warning: Option<bool>,
    pub error: Option<bool>,
    pub verbose_level: Option<u32>,
    pub format: Option<Format>,
}

/// The process's logs.
#[derive(Debug, Default)]
pub struct Logging {
    state: Mutex<State>,
    /// `None` for a value that logs nothing, such as a test's.
    sink: Option<Sink>,
}

#[derive(Clone, Debug, Default)]
struct State {
    gate: Gate,
    format: Format,
}

/// Where lines go, and the handles to change what is written there.
struct Sink {
    place: Place,
    gate: reload::Handle<Gate, Registry>,
    lines: reload::Handle<Lines, Gated>,
}

#[derive(Clone, Debug)]
enum Place {
    StandardError,
    File(PathBuf, Arc<File>),
}

type Gated = Layered<reload::Layer<Gate, Registry>, Registry>;
type Lines = Box<dyn Layer<Gated> + Send + Sync>;

impl Logging {
    /// Starts logging for the process.
    ///
    /// # Errors
    /// If the filter is malformed, the file cannot be opened, or logging was started before.
    pub fn start(config: &Config) -> Result<Self, String> {
        let state = State {
            gate: Gate::new(config)?,
            format: config.format,
        };
        let place = Place::open(config.file.clone())?;
        let (gate, gate_handle) = reload::Layer::new(state.gate.clone());
        let (lines, lines_handle) = reload::Layer::new(place.lines(state.format));
        tracing_subscriber::registry()
            .with(gate)
            .with(lines)
            .try_init()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            state: Mutex::new(state),
            sink: Some(Sink {
                place,
                gate: gate_handle,
                lines: lines_handle,
            }),
        })
    }

    /// What is logged now.
    pub fn settings(&self) -> Settings {
        let state = self.lock();
        let file = self.sink.as_ref().map(|sink| sink.place.name());
        Settings {
            file: file.unwrap_or_default(),
            info: state.gate.shows(tracing::Level::INFO),
            warning: state.gate.shows(tracing::Level::WARN),
            error: state.gate.shows(tracing::Level::ERROR),
            verbose_level: state.gate.verbose_level(),
            format: state.format,
        }
    }

    /// Changes what is logged, from the next line on.
    pub fn change(&self, change: &Change) {
        let mut state = self.lock();
        state.gate.change(change);
        let format = change.format.unwrap_or(state.format);
        let reformatted = std::mem::replace(&mut state.format, format) != format;
        let Some(sink) = &self.sink else {
            return;
        };
        // These fail only once the process's subscriber is gone, which is never.
        let _ = sink.gate.reload(state.gate.clone());
        if reformatted {
            let _ = sink.lines.reload(sink.place.lines(format));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Place {
    fn open(file: Option<PathBuf>) -> Result<Self, String> {
        let Some(path) = file else {
            return Ok(Self::StandardError);
        };
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Self::File(path, Arc::new(file))),
            Err(error) => Err(format!("log file {}: {error}", path.display())),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::StandardError => String::new(),
            Self::File(path, _) => path.display().to_string(),
        }
    }

    fn lines(&self, format: Format) -> Lines {
        match self {
            Self::StandardError => lines(format, io::stderr, io::stderr().is_terminal()),
            Self::File(_, file) => lines(format, Arc::clone(file), false),
        }
    }
}

fn lines<W>(format: Format, writer: W, ansi: bool) -> Lines
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = written().with_writer(writer).with_ansi(ansi);
    match format {
        Format::Text => layer.with_target(false).boxed(),
        Format::Iso8601 => layer.event_format(Iso8601Line).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: "info".to_owned(),
            file: None,
            info: true,
            warning: true,
            error: true,
            verbose_level: 0,
        }
    }
}

impl Format {
    /// The logging extension's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "default",
            Self::Iso8601 => "ISO8601",
            Self::Json => "json",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" | "default" => Ok(Self::Text),
            "ISO8601" | "iso8601" => Ok(Self::Iso8601),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "unknown log format '{text}', expected 'text', 'ISO8601' or 'json'"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_shown_and_the_rest_stays() {
        let logging = Logging::default();
        let before = logging.settings();
        logging.change(&Change {
            info: Some(false),
            verbose_level: Some(3),
            format: Some(Format::Iso8601),
            ..Change::default()
        });
        let expected = Settings {
            info: false,
            verbose_level: 3,
            format: Format::Iso8601,
            ..before
        };
        assert_eq!(logging.settings(), expected);
    }

    #[test]
    fn a_format_is_known_by_the_name_that_is_shown() {
        for format in [Format::Text, Format::Iso8601, Format::Json] {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("xml".parse::<Format>().is_err());
    }
}
