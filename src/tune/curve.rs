//! What batches of each size take, and what that says. Pure.

use serde::Serialize;

/// So near to the most rows a second is near enough.
const ENOUGH: f64 = 0.95;
/// Twice the rows give so many more a second: larger batches would give more.
const RISES: f64 = 1.1;

/// What batches of one size take, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Rows.
    pub batch_size: usize,
    /// The median, in microseconds.
    pub latency_us: f64,
    /// Rows a second.
    pub rate: f64,
}

/// The sizes that are measured: the powers of two up to the largest, and that.
pub(super) fn sizes(max_batch_size: usize) -> Vec<usize> {
    let powers = (0..usize::BITS).map(|bit| 1_usize << bit);
    let mut sizes: Vec<_> = powers.take_while(|size| *size < max_batch_size).collect();
    sizes.push(max_batch_size.max(1));
    sizes
}

/// What to make of the curve; `None` of a single point.
pub(super) fn advice(curve: &[Point]) -> Option<String> {
    let [.., before, last] = curve else {
        return None;
    };
    let most = curve.iter().map(|point| point.rate).fold(0.0, f64::max);
    let enough = curve.iter().find(|point| point.rate >= most * ENOUGH)?;
    let size = enough.batch_size;
    if size == last.batch_size && last.rate > before.rate * RISES {
        return Some(format!(
            "rows a second still rise at {size} rows: a larger max_batch_size may give more"
        ));
    }
    Some(format!(
        "batches of {size} give {:.0} % of the most rows a second; larger ones take longer for little: \
         preferred_batch_size: [ {size} ]",
        100.0 * enough.rate / most
    ))
}
