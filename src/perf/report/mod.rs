//! Results in the forms that people and programs read.

mod bars;
mod chart;
mod csv;
mod curves;
mod html;
mod scale;
mod table;
#[cfg(test)]
mod tests;

pub use self::{csv::csv, html::html, table::table};
use super::Report;

/// Everything, as JSON.
///
/// # Errors
/// If a number has no form in JSON.
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report)
}

/// Microseconds, with as many digits as matter.
fn micro(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
