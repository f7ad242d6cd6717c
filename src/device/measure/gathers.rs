//! The rows of a batch, from many places to one: a copy for each, or one kernel.

use bytes::Bytes;

use super::{Bench, Gathered, MeasureError, pattern};
use crate::device::cuda::{DeviceSpan, Piece};

const ROWS: [usize; 5] = [1, 4, 16, 64, 256];
const ROW_BYTE_SIZES: [usize; 3] = [1 << 10, 16 << 10, 256 << 10];

/// One row for each number and size whose batch is not larger than the largest copy.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Gathered>, MeasureError> {
    let cases = ROW_BYTE_SIZES
        .into_iter()
        .flat_map(|size| ROWS.map(|rows| (rows, size)));
    cases
        .filter(|(rows, size)| rows * size <= bench.extent.largest_byte_size)
        .map(|(rows, size)| measure_case(bench, rows, size))
        .collect()
}

fn measure_case(
    bench: &Bench,
    rows: usize,
    row_byte_size: usize,
) -> Result<Gathered, MeasureError> {
    let pieces: Vec<_> = (0..rows)
        .map(|row| piece(bench, row, row_byte_size))
        .collect();
    let span = bench.device.take(rows * row_byte_size)?;
    let want = pieces.concat();
    let copies_us = bench.time(1, |work| {
        for (row, piece) in pieces.iter().enumerate() {
            if let Some(part) = span.part(row * row_byte_size, row_byte_size) {
                work.upload(&bench.stream, &part, piece.clone())?;
            }
        }
        Ok(())
    })?;
    check(bench, &span, &want, "many copies")?;
    clear(bench, &span)?;
    let kernel_us = bench.time(1, |work| {
        let places = pieces.iter().cloned().enumerate();
        let places = places.map(|(row, piece)| (row * row_byte_size, Piece::Pinned(piece)));
        let (stream, pool) = (&bench.stream, &bench.pinned);
        bench
            .kernels
            .gather(work, stream, pool, &span, places.collect())
    })?;
    check(bench, &span, &want, "a gather kernel")?;
    Ok(Gathered {
        rows,
        row_byte_size,
        copies_us,
        kernel_us,
    })
}

fn piece(bench: &Bench, row: usize, byte_size: usize) -> Bytes {
    let mut slab = bench.pinned.take(byte_size);
    slab.iter_mut()
        .zip(pattern(byte_size, row))
        .for_each(|(to, from)| *to = from);
    slab.freeze()
}

fn check(
    bench: &Bench,
    span: &DeviceSpan,
    want: &[u8],
    what: &'static str,
) -> Result<(), MeasureError> {
    bench.check(bench.read(span, want.len())? == want, what)
}

fn clear(bench: &Bench, span: &DeviceSpan) -> Result<(), MeasureError> {
    bench.time(1, |work| work.fill(&bench.stream, span, 0))?;
    Ok(())
}
