//! Many small pieces of work: each given to a stream, or all as one graph.

use super::{Bench, Launched, MeasureError};
use crate::device::cuda::{DeviceError, DeviceSpan, Graph, Work};

const COUNTS: [usize; 4] = [1, 8, 64, 256];
const BYTE_SIZE: usize = 4 << 10;

/// One row for each number.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Launched>, MeasureError> {
    let measured = COUNTS.map(|count| measure_count(bench, count));
    measured.into_iter().collect()
}

fn measure_count(bench: &Bench, count: usize) -> Result<Launched, MeasureError> {
    let span = bench.device.take(BYTE_SIZE)?;
    let plain_us = bench.time(1, |work| give(bench, work, &span, count))?;
    let graph = Graph::capture(&bench.stream, |work| give(bench, work, &span, count))?;
    bench.time(1, |work| work.fill(&bench.stream, &span, u8::MAX))?;
    let graph_us = bench.time(1, |work| work.replay(&bench.stream, &graph))?;
    let [last, ..] = (count - 1).to_le_bytes();
    let is_done = bench
        .read(&span, BYTE_SIZE)?
        .iter()
        .all(|&byte| byte == last);
    bench.check(is_done, "a graph")?;
    Ok(Launched {
        count,
        plain_us,
        graph_us,
    })
}

/// Fills of the same memory, each with another value.
fn give(
    bench: &Bench,
    work: &mut Work,
    span: &DeviceSpan,
    count: usize,
) -> Result<(), DeviceError> {
    (0..count).try_for_each(|index| {
        let [value, ..] = index.to_le_bytes();
        work.fill(&bench.stream, span, value)
    })
}
