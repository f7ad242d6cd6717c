//! Which events are logged. Pure: by an event's level and where it comes from.

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, Filter},
};

use super::{Change, Config};

/// A filter by directives, and a switch for each level that overrules it: "off" for every line of
/// that level, "on" for this crate's own.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    filter: Targets,
    error: Option<bool>,
    warning: Option<bool>,
    info: Option<bool>,
    verbose_level: Option<u32>,
}

const LEVELS: [Level; 5] = [
    Level::TRACE,
    Level::DEBUG,
    Level::INFO,
    Level::WARN,
    Level::ERROR,
];

impl Gate {
    /// # Errors
    /// If the filter is malformed.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let filter = config.filter.parse();
        let off = |wanted: bool| (!wanted).then_some(false);
        Ok(Self {
            filter: filter.map_err(|error| format!("log filter '{}': {error}", config.filter))?,
            error: off(config.error),
            warning: off(config.warning),
            info: off(config.info),
            verbose_level: (config.verbose_level > 0).then_some(config.verbose_level),
        })
    }

    pub(super) fn change(&mut self, change: &Change) {
        self.error = change.error.or(self.error);
        self.warning = change.warning.or(self.warning);
        self.info = change.info.or(self.info);
        self.verbose_level = change.verbose_level.or(self.verbose_level);
    }

    /// Whether lines of this level are written for places that no directive names.
    pub(super) fn shows(&self, level: Level) -> bool {
        self.switch(level)
            .unwrap_or_else(|| self.filter.default_level() >= Some(level.into()))
    }

    /// 0 without debug lines.
    pub(super) fn verbose_level(&self) -> u32 {
        self.verbose_level.unwrap_or_else(|| {
            u32::from(self.shows(Level::DEBUG)) + u32::from(self.shows(Level::TRACE))
        })
    }

    fn allows(&self, target: &str, level: Level) -> bool {
        match self.switch(level) {
            Some(false) => false,
            Some(true) if is_own(target) => true,
            _ => self.filter.would_enable(target, &level),
        }
    }

    fn switch(&self, level: Level) -> Option<bool> {
        match level {
            Level::ERROR => self.error,
            Level::WARN => self.warning,
            Level::INFO => self.info,
            Level::DEBUG => self.verbose_level.map(|verbose| verbose >= 1),
            _ => self.verbose_level.map(|verbose| verbose >= 2),
        }
    }

    /// The least important level that any line can have.
    fn most_verbose(&self) -> LevelFilter {
        let filter = Filter::<Registry>::max_level_hint(&self.filter);
        let filter = filter.unwrap_or(LevelFilter::TRACE);
        let possible = |&level: &Level| self.switch(level).unwrap_or(filter >= level);
        let level = LEVELS.into_iter().find(possible);
        level.map_or(LevelFilter::OFF, LevelFilter::from_level)
    }
}

fn is_own(target: &str) -> bool {
    let rest = target.strip_prefix("despina");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.allows(metadata.target(), *metadata.level()) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.allows(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most_verbose())
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            filter: Targets::new().with_default(LevelFilter::INFO),
            error: None,
            warning: None,
            info: None,
            verbose_level: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(filter: &str) -> Gate {
        Gate::new(&Config {
            filter: filter.to_owned(),
            ..Config::default()
        })
        .unwrap()
    }

    #[test]
    fn the_filter_holds_until_a_switch_is_turned() {
        let mut gate = gate("warn,despina::api=debug");
        assert!(!gate.allows("despina::model", Level::INFO));
        assert!(gate.allows("despina::api::http", Level::DEBUG));
        assert!(!gate.shows(Level::INFO) && gate.shows(Level::WARN));
        assert_eq!(gate.verbose_level(), 0);
        gate.change(&Change {
            info: Some(true),
            warning: Some(false),
            verbose_level: Some(1),
            ..Change::default()
        });
        assert!(gate.allows("despina::model", Level::INFO));
        assert!(gate.allows("despina::model", Level::DEBUG));
        assert!(!gate.allows("despina::api", Level::WARN));
        assert!(gate.allows("despina::api", Level::ERROR));
        assert_eq!(gate.verbose_level(), 1);
    }

    #[test]
    fn a_switch_makes_libraries_quiet_but_not_loud() {
        let mut gate = gate("info,h2=warn");
        gate.change(&Change {
            verbose_level: Some(2),
            warning: Some(false),
            ..Change::default()
        });
        assert!(gate.allows("despina", Level::TRACE));
        assert!(!gate.allows("despina_other", Level::TRACE));
        assert!(!gate.allows("h2::proto", Level::DEBUG));
        assert!(!gate.allows("h2::proto", Level::WARN));
        assert!(gate.allows("h2::proto", Level::ERROR));
    }

    #[test]
    fn the_hint_is_the_least_important_level_that_is_let_through() {
        let mut gate = gate("info");
        assert_eq!(gate.most_verbose(), LevelFilter::INFO);
        let mut change = Change {
            verbose_level: Some(1),
            ..Change::default()
        };
        gate.change(&change);
        assert_eq!(gate.most_verbose(), LevelFilter::DEBUG);
        change = Change {
            info: Some(false),
            warning: Some(false),
            error: Some(false),
            verbose_level: Some(0),
            ..Change::default()
        };
        gate.change(&change);
        assert_eq!(gate.most_verbose(), LevelFilter::OFF);
    }

    #[test]
    fn the_verbosity_shown_at_start_is_the_filters() {
        for (filter, level) in [("off", 0), ("info", 0), ("debug", 1), ("trace", 2)] {
            assert_eq!(gate(filter).verbose_level(), level, "{filter}");
        }
        assert!(
            Gate::new(&Config {
                filter: "despina=loud".to_owned(),
                ..Config::default()
            })
            .is_err()
        );
    }
}
