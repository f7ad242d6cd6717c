//! From requests to the batch that an executor sees: rows of the same input, one after the other.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::Signature;
use crate::{
    backend::{BackendError, Batch, BatchInput, Pieces, on_host},
    device::PinnedPool,
    inference::{Input, Request},
    tensor::{Buffer, Tensor},
};

/// Where gathered inputs go.
#[derive(Clone, Copy)]
pub(super) enum Slabs<'a> {
    /// Anywhere on the host. One request alone stays where it is.
    Host,
    /// To memory that a device copies from while the host goes on.
    Pinned(&'a Arc<PinnedPool>),
}

/// Gathers requests that the scheduler found to fit each other.
pub(super) fn gather(
    requests: &[Request],
    signature: &Signature,
    slabs: Slabs<'_>,
) -> Result<Batch, BackendError> {
    let mut batch = Batch {
        batch_size: requests.iter().map(|request| request.batch_size).sum(),
        inputs: SmallVec::new(),
        wanted: wanted(requests),
        outputs: vec![None; signature.outputs.len()],
    };
    let Some(first) = requests.first() else {
        return Ok(batch);
    };
    for (position, input) in first.inputs.iter().enumerate() {
        let tensor = concatenate(requests, position, input, batch.batch_size, slabs)?;
        batch.inputs.push(BatchInput {
            index: input.index,
            tensor,
        });
    }
    Ok(batch)
}

fn concatenate(
    requests: &[Request],
    position: usize,
    like: &Input,
    rows: usize,
    slabs: Slabs<'_>,
) -> Result<Tensor, BackendError> {
    let parts: SmallVec<[&Buffer; 8]> = requests
        .iter()
        .filter_map(|request| request.inputs.get(position))
        .map(|input| &input.tensor.data)
        .collect();
    let mut shape = like.tensor.shape.clone();
    if requests.len() > 1 {
        shape.set(0, i64::try_from(rows).unwrap_or(i64::MAX));
    }
    Ok(Tensor {
        datatype: like.tensor.datatype,
        shape,
        data: join(&parts, slabs)?,
    })
}

/// The parts as one: on the host, unless some are on a device and that is where they go.
fn join(parts: &[&Buffer], slabs: Slabs<'_>) -> Result<Buffer, BackendError> {
    let on_device = parts.iter().any(|part| part.host().is_none());
    match (slabs, parts) {
        (Slabs::Pinned(_), [part]) if on_device => Ok((*part).clone()),
        (Slabs::Pinned(_), _) if on_device => {
            Ok(Pieces::buffer(parts.iter().copied().cloned().collect()))
        }
        (Slabs::Host, [part]) if !on_device => Ok((*part).clone()),
        _ => {
            let parts = parts
                .iter()
                .map(|part| on_host(part))
                .collect::<Result<SmallVec<[Bytes; 8]>, _>>()?;
            Ok(Buffer::Host(slab(&parts, slabs)))
        }
    }
}

/// The parts, one after the other.
fn slab(parts: &[Bytes], slabs: Slabs<'_>) -> Bytes {
    let byte_size = parts.iter().map(Bytes::len).sum();
    match slabs {
        Slabs::Host => {
            let mut slab = BytesMut::with_capacity(byte_size);
            parts.iter().for_each(|part| slab.extend_from_slice(part));
            slab.freeze()
        }
        Slabs::Pinned(pool) => {
            let mut slab = pool.take(byte_size);
            let mut rest: &mut [u8] = &mut slab;
            for part in parts {
                let (place, after) = rest.split_at_mut(part.len());
                place.copy_from_slice(part);
                rest = after;
            }
            slab.freeze()
        }
    }
}

fn wanted(requests: &[Request]) -> SmallVec<[usize; 4]> {
    let mut wanted: SmallVec<[usize; 4]> = requests
        .iter()
        .flat_map(|request| request.wanted.iter().copied())
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}
