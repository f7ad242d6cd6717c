//! How the tensors of a batch come to a device, and how parts of its outputs come to the memory of
//! devices that clients share: by one copy for each piece, or, from so many pieces on as the model's
//! `optimization.gather_kernel_buffer_threshold` says, by one launch of a kernel.

use std::{slice, sync::Arc};

use bytes::Bytes;

use super::{BackendError, Batch, Pieces, on_device::Delivery, on_device::device_span};
use crate::{
    device::{
        Lane,
        cuda::{DeviceError, DeviceSpan, Piece, Place, Work},
    },
    tensor::{Buffer, Memory, Tensor},
};

/// What the executor computes on: memory that already is on the device is used where it is, and what
/// comes from several places is put together there.
pub(super) fn upload(lane: &Lane, work: &mut Work, data: &Buffer) -> Result<Buffer, BackendError> {
    let is_here = |span: &&DeviceSpan| span.is_aligned() && is_of(lane, span);
    if device_span(data).filter(is_here).is_some() {
        return Ok(data.clone());
    }
    let whole = lane.pool().take(data.byte_size())?;
    fill(lane, work, data, &whole)?;
    Ok(Buffer::Foreign(Arc::new(whole)))
}

/// Puts all of `data` at the beginning of `whole`, and zeros behind it.
pub(super) fn fill(
    lane: &Lane,
    work: &mut Work,
    data: &Buffer,
    whole: &DeviceSpan,
) -> Result<(), BackendError> {
    let pieces = Pieces::of(data).unwrap_or(slice::from_ref(data));
    if gather(lane, work, pieces, whole)? {
        return Ok(());
    }
    let mut offset = 0;
    for piece in pieces {
        let place = whole.part(offset, piece.byte_size()).ok_or_else(unplaced)?;
        offset += piece.byte_size();
        match device_span(piece) {
            Some(source) => work.copy(lane.upload(), &place, source)?,
            None => {
                let bytes = piece.to_host_bytes().ok_or_else(unplaced)?;
                work.upload(lane.upload(), &place, bytes)?;
            }
        }
    }
    let rest = whole.byte_size().saturating_sub(offset);
    if let Some(rest) = whole.part(offset, rest).filter(|rest| rest.byte_size() > 0) {
        work.fill(lane.upload(), &rest, 0)?;
    }
    Ok(())
}

/// Has a kernel do it, if there are many pieces. Says whether it does.
fn gather(
    lane: &Lane,
    work: &mut Work,
    pieces: &[Buffer],
    whole: &DeviceSpan,
) -> Result<bool, BackendError> {
    let Some(kernels) = lane.kernels_for(pieces.len()) else {
        return Ok(false);
    };
    let Some(mut placed) = within_reach(lane, pieces) else {
        return Ok(false);
    };
    let end: usize = pieces.iter().map(Buffer::byte_size).sum();
    let rest = whole.byte_size().saturating_sub(end);
    placed.extend((rest > 0).then_some((end, Piece::Zeros(rest))));
    let pinned = lane.device().pinned();
    is_launched(kernels.gather(work, lane.upload(), pinned, whole, placed))
}

/// The pieces and their offsets as a kernel of the lane's device can read them, those of the host in
/// one slab of pinned memory; `None` if that is used up, or a piece is on another device.
fn within_reach(lane: &Lane, pieces: &[Buffer]) -> Option<Vec<(usize, Piece)>> {
    let sizes = pieces.iter().filter_map(Buffer::host).map(<[u8]>::len);
    let mut slab = lane.device().pinned().take(sizes.sum());
    let mut rest: &mut [u8] = &mut slab;
    for bytes in pieces.iter().filter_map(Buffer::host) {
        let (place, after) = rest.split_at_mut_checked(bytes.len())?;
        place.copy_from_slice(bytes);
        rest = after;
    }
    if !slab.is_pinned() {
        return None;
    }
    let (mut host, mut offset) = (slab.freeze(), 0);
    let mut placed = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let source = match device_span(piece) {
            Some(span) if is_of(lane, span) => Piece::Device(span.clone()),
            Some(_) => return None,
            None => Piece::Pinned(split_front(&mut host, piece.byte_size())?),
        };
        placed.push((offset, source));
        offset += piece.byte_size();
    }
    Some(placed)
}

fn split_front(bytes: &mut Bytes, byte_size: usize) -> Option<Bytes> {
    (byte_size <= bytes.len()).then(|| bytes.split_to(byte_size))
}

/// Rows of an output, and where they go.
struct Part {
    /// Which delivery.
    index: usize,
    /// Where in the output they begin, in bytes.
    offset: usize,
    rows: DeviceSpan,
    place: DeviceSpan,
}

/// Writes rows of outputs to where they are wanted. Those whose size is not known, that do not fit, or
/// that go to a device that is lost, have no destination any more.
pub(super) fn deliver(
    lane: &Lane,
    work: &mut Work,
    batch: &Batch,
    deliveries: &mut [Delivery],
) -> Result<(), BackendError> {
    for (index, output) in batch.outputs.iter().enumerate() {
        let mut parts = Vec::new();
        for (number, delivery) in deliveries.iter_mut().enumerate() {
            if delivery.output == index
                && let Some(wanted) = delivery.destination.take()
                && let Some(output) = output
            {
                parts.extend(part(output, batch.batch_size, number, delivery, &wanted));
            }
        }
        if let Some(whole) = output.as_ref().and_then(|output| device_span(&output.data)) {
            scatter(lane, work, whole, &parts)?;
        }
        for Part { index, place, .. } in parts {
            if let Some(delivery) = deliveries.get_mut(index) {
                delivery.destination = Some(Buffer::Foreign(Arc::new(place)));
            }
        }
    }
    Ok(())
}

fn part(
    output: &Tensor,
    row_count: usize,
    index: usize,
    delivery: &Delivery,
    wanted: &Buffer,
) -> Option<Part> {
    output.datatype.element_byte_size()?;
    let whole = device_span(&output.data)?;
    let row = whole.byte_size().checked_div(row_count)?;
    let offset = delivery.rows.start.checked_mul(row)?;
    let rows = whole.part(offset, delivery.rows.len().checked_mul(row)?)?;
    let place = device_span(wanted)?.part(0, rows.byte_size())?;
    place.context().lost().is_none().then_some(Part {
        index,
        offset,
        rows,
        place,
    })
}

fn scatter(
    lane: &Lane,
    work: &mut Work,
    whole: &DeviceSpan,
    parts: &[Part],
) -> Result<(), BackendError> {
    let kernels = lane.kernels_for(parts.len());
    if let Some(kernels) = kernels.filter(|_| parts.iter().all(|part| is_of(lane, &part.place))) {
        let place = |part: &Part| (part.offset, Place::Device(part.place.clone()));
        let places = parts.iter().map(place).collect();
        let pinned = lane.device().pinned();
        if is_launched(kernels.scatter(work, lane.download(), pinned, whole, places))? {
            return Ok(());
        }
    }
    for part in parts {
        work.copy(lane.download(), &part.place, &part.rows)?;
    }
    Ok(())
}

/// What a kernel cannot do, such as without pinned memory for its table, is left to copies.
fn is_launched(result: Result<(), DeviceError>) -> Result<bool, BackendError> {
    match result {
        Ok(()) => Ok(true),
        Err(DeviceError::Failed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_of(lane: &Lane, span: &DeviceSpan) -> bool {
    span.context().ordinal() == lane.device().context().ordinal()
}

pub(super) fn unplaced() -> BackendError {
    BackendError::Failed("an input is neither on the host nor on a device".to_owned())
}
