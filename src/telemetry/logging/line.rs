//! Triton's log format `ISO8601`: time, a letter for the level, process, place, message.

use std::{fmt, process};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// `2026-05-20T20:03:26.829575Z I 3415 src/server/mod.rs:441] message field=value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iso8601Line;

impl<S, N> FormatEvent<S, N> for Iso8601Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        SystemTime.format_time(&mut writer)?;
        let level = letter(*metadata.level());
        let file = metadata.file().unwrap_or("-");
        let line = metadata.line().unwrap_or(0);
        write!(writer, " {level} {} {file}:{line}] ", process::id())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Triton's letters.
fn letter(level: Level) -> char {
    match level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        Level::INFO => 'I',
        _ => 'V',
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_has_tritons_parts_and_escapes_fields() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Iso8601Line)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(client = "a\nb", "it happened");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let (begin, message) = text.split_once("] ").unwrap();
        assert_eq!(message, "it happened client=\"a\\nb\"\n");
        let parts: Vec<_> = begin.split(' ').collect();
        assert!(parts[0].ends_with('Z') && parts[0].contains('T'), "{text}");
        assert_eq!(parts[1], "W");
        assert_eq!(parts[2], process::id().to_string());
        assert!(parts[3].starts_with(file!()), "{text}");
    }
}
