//! The table for a terminal.

use std::fmt::Write;

use super::{
    super::{Level, LevelLoad, Report},
    micro,
};

/// What is shown of each level.
type Column = (&'static str, fn(&Level) -> String);

/// Latencies are in microseconds.
const COLUMNS: [Column; 11] = [
    ("infer/s", |level| {
        format!("{:.1}", level.inferences_per_second)
    }),
    ("mean", |level| micro(level.latency.mean)),
    ("p50", |level| micro(level.latency.p50)),
    ("p90", |level| micro(level.latency.p90)),
    ("p99", |level| micro(level.latency.p99)),
    ("p99.9", |level| micro(level.latency.p999)),
    ("max", |level| micro(level.latency.max)),
    ("failed", |level| level.failure_count.to_string()),
    ("client CPU", |level| optional(level.client_cpu_us)),
    ("server CPU", |level| optional(level.server_cpu_us)),
    ("", |level| {
        if level.stable { "" } else { "unstable" }.to_owned()
    }),
];

/// The results for a terminal: latency in microseconds, processor time in microseconds a request.
pub fn table(report: &Report) -> String {
    let mut text = title(report);
    let open = report
        .levels
        .iter()
        .any(|level| !matches!(level.load, LevelLoad::Concurrency { .. }));
    let rows: Vec<Vec<String>> = std::iter::once(header(report, open))
        .chain(report.levels.iter().map(|level| row(level, open)))
        .collect();
    text.push_str(&aligned(&rows));
    for level in &report.levels {
        push_notes(&mut text, level);
    }
    if report.is_interrupted {
        push(&mut text, "\nthe run was ended before its time");
    }
    if let Some(slo) = &report.slo {
        let target = format!("{} % within {} ms", slo.percentile, slo.latency_ms);
        let found = match slo.request_rate {
            Some(rate) => format!("\nhighest request rate with {target}: {rate:.1}/s"),
            None => format!("\nno request rate that was tried has {target}"),
        };
        push(&mut text, &found);
    }
    text
}

fn title(report: &Report) -> String {
    let server = &report.server;
    format!(
        "{} {} at {} over {}, {}, batch size {}, {} thread(s)\n\
         latency in µs, processor time in µs a request\n\n",
        server.name,
        server.version,
        server.url,
        server.protocol,
        report.models.join(", "),
        report.batch_size,
        report.client.threads,
    )
}

fn header(report: &Report, open: bool) -> Vec<String> {
    let load = report.levels.first().map_or("", |level| level.load.name());
    let mut cells = vec![load.to_lowercase()];
    cells.extend(open.then(|| "sent late".to_owned()));
    cells.extend(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    cells
}

fn row(level: &Level, open: bool) -> Vec<String> {
    let mut cells = vec![level.load.label()];
    cells.extend(open.then(|| micro(level.send_lag_p99_us)));
    cells.extend(COLUMNS.iter().map(|(_, cell)| cell(level)));
    cells
}

/// What does not fit into a row.
fn push_notes(text: &mut String, level: &Level) {
    let notes = notes(level);
    if notes.is_empty() {
        return;
    }
    let load = level.load.name().to_lowercase();
    push(text, &format!("\n{load} {}", level.load.label()));
    for note in notes {
        push(text, &format!("  {note}"));
    }
}

fn notes(level: &Level) -> Vec<String> {
    let server = level.server.as_ref().map(|server| {
        format!(
            "server: {:.1} µs, of these queue {:.1}, input {:.1}, infer {:.1}, output {:.1}; \
             {:.2} rows an execution",
            server.total_us,
            server.queue_us,
            server.compute_input_us,
            server.compute_infer_us,
            server.compute_output_us,
            server.mean_batch_size,
        )
    });
    let models = level.models.iter().map(|model| {
        format!(
            "{}: {:.1} requests/s, p50 {}, p99 {}, {} failed",
            model.name,
            model.requests_per_second,
            micro(model.latency.p50),
            micro(model.latency.p99),
            model.failure_count,
        )
    });
    let failures = level.totals.failures.iter();
    let failures = failures.map(|(reason, count)| format!("{count} failed: {reason}"));
    let different = (level.totals.different > 0).then(|| {
        format!(
            "{} of {} answers that were checked differ from the first to the same input",
            level.totals.different, level.totals.verified,
        )
    });
    server
        .into_iter()
        .chain(models)
        .chain(failures)
        .chain(different)
        .collect()
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate();
        let cells: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:>width$}", width = width(column)))
            .collect();
        push(&mut text, cells.join("  ").trim_end());
    }
    text
}

fn push(text: &mut String, line: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}
