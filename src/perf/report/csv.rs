//! The file that perf_analyzer's `-f` makes, with our numbers behind its columns.

use std::fmt::Write;

use super::super::{Level, Report};

/// Columns behind the first, which names the load; times in microseconds. Up to the failures they
/// are perf_analyzer's.
const COLUMNS: [&str; 18] = [
    "Inferences/Second",
    "Client Send",
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
    "Client Recv",
    "p50 latency",
    "p90 latency",
    "p95 latency",
    "p99 latency",
    "Avg latency",
    "p99.9 latency",
    "Request Count",
    "Failures",
    "Client CPU",
    "Server CPU",
];

/// The results as comma-separated values, one level a line.
pub fn csv(report: &Report) -> String {
    let load = report.levels.first();
    let load = load.map_or("Concurrency", |level| level.load.name());
    let mut text = format!("{load},{}\n", COLUMNS.join(","));
    for level in &report.levels {
        text.push_str(&level.load.label());
        for value in values(level) {
            text.push(',');
            if let Some(value) = value {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{value:.1}");
            }
        }
        text.push('\n');
    }
    text
}

fn values(level: &Level) -> [Option<f64>; 18] {
    let server = level.server.as_ref();
    let latency = &level.latency;
    let network = server.map(|server| (latency.mean - server.total_us).max(0.0));
    [
        Some(level.inferences_per_second),
        // Requests are bytes before they are sent, and answers are not parsed: what perf_analyzer
        // counts as the client's own time is none.
        Some(0.0),
        network,
        server.map(|server| server.queue_us),
        server.map(|server| server.compute_input_us),
        server.map(|server| server.compute_infer_us),
        server.map(|server| server.compute_output_us),
        Some(0.0),
        Some(latency.p50),
        Some(latency.p90),
        Some(latency.p95),
        Some(latency.p99),
        Some(latency.mean),
        Some(latency.p999),
        Some(level.request_count as f64),
        Some(level.failure_count as f64),
        level.client_cpu_us,
        level.server_cpu_us,
    ]
}
