//! From requests to the batch that an executor sees: rows of the same input, one after the other.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::Signature;
use crate::{
    backend::{BackendError, Batch, BatchInput},
    inference::{Input, Request},
    tensor::{Buffer, Tensor},
};

/// Gathers requests that the scheduler found to fit each other. One request alone is not copied.
pub(super) fn gather(requests: &[Request], signature: &Signature) -> Result<Batch, BackendError> {
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
        let tensor = if requests.len() == 1 {
            input.tensor.clone()
        } else {
            concatenate(requests, position, input, batch.batch_size)?
        };
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
) -> Result<Tensor, BackendError> {
    let parts = || {
        requests
            .iter()
            .filter_map(|request| request.inputs.get(position))
    };
    let byte_size = parts().map(|input| input.tensor.data.byte_size()).sum();
    let mut slab = BytesMut::with_capacity(byte_size);
    for input in parts() {
        let bytes = input.tensor.data.host().ok_or_else(|| {
            BackendError::Failed(format!("input '{}' is not in host memory", input.name))
        })?;
        slab.extend_from_slice(bytes);
    }
    let mut shape = like.tensor.shape.clone();
    shape.set(0, i64::try_from(rows).unwrap_or(i64::MAX));
    Ok(Tensor {
        datatype: like.tensor.datatype,
        shape,
        data: Buffer::Host(Bytes::from(slab)),
    })
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
