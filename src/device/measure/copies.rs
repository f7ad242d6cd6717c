//! Copies to and from a device, from and to pinned and ordinary memory.

use bytes::Bytes;

use super::{Bench, Copied, MeasureError, pattern};
use crate::device::{
    HostSlab,
    cuda::{DeviceSpan, Work},
};

const LEAST_BYTE_SIZE: usize = 4 << 10;
/// Each size is so many times the one before.
const STEP: usize = 4;

/// One row for each size.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Copied>, MeasureError> {
    let sizes = std::iter::successors(Some(LEAST_BYTE_SIZE), |size| size.checked_mul(STEP));
    sizes
        .take_while(|&size| size <= bench.extent.largest_byte_size)
        .map(|size| measure_size(bench, size))
        .collect()
}

fn measure_size(bench: &Bench, byte_size: usize) -> Result<Copied, MeasureError> {
    let span = bench.device.take(byte_size)?;
    let ordinary = Bytes::from_iter(pattern(byte_size, 1));
    let mut pinned = bench.pinned.take(byte_size);
    bench.check(pinned.is_pinned(), "pinned memory")?;
    pinned
        .iter_mut()
        .zip(pattern(byte_size, 2))
        .for_each(|(to, from)| *to = from);
    let pinned = pinned.freeze();
    let [pinned_to_device_us, pageable_to_device_us] = [
        to_device(bench, &span, &pinned)?,
        to_device(bench, &span, &ordinary)?,
    ];
    let take_pinned = || bench.pinned.take(byte_size);
    Ok(Copied {
        byte_size,
        pinned_to_device_us,
        pageable_to_device_us,
        pinned_to_host_us: to_host(bench, &span, &ordinary, take_pinned)?,
        pageable_to_host_us: to_host(bench, &span, &ordinary, || HostSlab::pageable(byte_size))?,
    })
}

/// Copies that go on one after the other, so that what is measured is not the wait for the first.
fn repetitions(byte_size: usize) -> u32 {
    let count = (8 << 20) / byte_size.max(1);
    u32::try_from(count).unwrap_or(u32::MAX).clamp(1, 32)
}

fn to_device(bench: &Bench, span: &DeviceSpan, source: &Bytes) -> Result<f64, MeasureError> {
    let count = repetitions(source.len());
    let time = bench.time(count, |work| {
        work.upload(&bench.stream, span, source.clone())
    })?;
    let is_there = bench.read(span, source.len())? == *source;
    bench.check(is_there, "a copy to the device")?;
    Ok(time)
}

/// One at a time: each lands in memory of its own.
fn to_host(
    bench: &Bench,
    span: &DeviceSpan,
    held: &Bytes,
    mut take: impl FnMut() -> HostSlab,
) -> Result<f64, MeasureError> {
    let time = bench.time(1, |work| work.download(&bench.stream, span, take()))?;
    let mut work = Work::new(&bench.context)?;
    work.download(&bench.stream, span, take())?;
    let landed = work.finish()?.wait()?;
    let is_there = landed.first().is_some_and(|slab| **slab == **held);
    bench.check(is_there, "a copy from the device")?;
    Ok(time)
}
