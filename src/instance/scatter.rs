//! From an executed batch to one response per request: slices of the outputs, without a copy.

use std::sync::Arc;

use bytes::Bytes;

use super::Signature;
use crate::{
    backend::{BackendError, Batch, Outputs, device_span},
    device::cuda::DeviceSpan,
    inference::{Output, Request, Response},
    model_config::OutputSpec,
    tensor::{Buffer, BytesTensor, Datatype, Memory, Shape, Tensor},
};

/// Splits the outputs among the requests, in order.
pub(super) fn scatter(
    mut batch: Batch,
    requests: &[Request],
    signature: &Signature,
) -> Result<Vec<Response>, BackendError> {
    for (spec, output) in signature.outputs.iter().zip(&mut batch.outputs) {
        if let Some(tensor) = output {
            let batched = signature.has_batch_dimension;
            check(tensor, spec, Some(batch.batch_size), batched)?;
        }
    }
    let mut splitters: Vec<_> = batch
        .outputs
        .into_iter()
        .map(|output| output.map(Splitter::new))
        .collect();
    let whole = requests.len() == 1;
    requests
        .iter()
        .map(|request| response(request, whole, &mut splitters, signature))
        .collect()
}

/// One response of a decoupled model, which has as many rows as it likes.
pub(super) fn checked_response(
    mut outputs: Outputs,
    wanted: &[usize],
    signature: &Signature,
) -> Result<Response, BackendError> {
    let mut response = Response::default();
    for &index in wanted {
        let (Some(Some(mut tensor)), Some(spec)) = (
            outputs.get_mut(index).map(Option::take),
            signature.outputs.get(index),
        ) else {
            continue;
        };
        check(&mut tensor, spec, None, signature.has_batch_dimension)?;
        response.outputs.push(Output {
            index,
            name: spec.name.clone(),
            tensor,
        });
    }
    Ok(response)
}

fn response(
    request: &Request,
    whole: bool,
    splitters: &mut [Option<Splitter>],
    signature: &Signature,
) -> Result<Response, BackendError> {
    let mut response = Response::default();
    // Every output advances by the request's rows, whether this request wants it or not.
    let mut parts = Vec::with_capacity(splitters.len());
    for splitter in splitters.iter_mut() {
        parts.push(match splitter {
            Some(splitter) if whole => Some(splitter.tensor.clone()),
            Some(splitter) => Some(splitter.take(request.batch_size)?),
            None => None,
        });
    }
    for &index in &request.wanted {
        // An output that a backend leaves out is left out of the response, as in Triton.
        if let (Some(Some(tensor)), Some(spec)) = (
            parts.get_mut(index).map(Option::take),
            signature.outputs.get(index),
        ) {
            response.outputs.push(Output {
                index,
                name: spec.name.clone(),
                tensor,
            });
        }
    }
    Ok(response)
}

/// Checks an output against the model's signature, and gives it the shape that clients see. It
/// must have `rows` rows, or any number of them if that is `None`. What else there is to its shape is as the
/// engine says, as in Triton: many ONNX files tell wrong shapes of outputs, for their exporter had traced
/// one example.
fn check(
    tensor: &mut Tensor,
    spec: &OutputSpec,
    rows: Option<usize>,
    batched: bool,
) -> Result<(), BackendError> {
    let name = &spec.name;
    if tensor.datatype != spec.datatype {
        return Err(BackendError::Failed(format!(
            "output '{name}' has datatype {}, but the model configuration says {}",
            tensor.datatype, spec.datatype
        )));
    }
    let (leading, inner) = match tensor.shape.split_first() {
        Some((&leading, inner)) if batched => (Some(leading), Shape::from(inner)),
        _ => (None, tensor.shape.clone()),
    };
    if batched
        && let Some(rows) = rows
        && leading != i64::try_from(rows).ok()
    {
        return Err(BackendError::Failed(format!(
            "output '{name}' has shape {}, but its batch dimension must be {rows}",
            tensor.shape
        )));
    }
    let shown = match &spec.reshape {
        None => inner,
        Some(reshape) => inner.reshaped(reshape, &spec.dims).ok_or_else(|| {
            BackendError::Failed(format!(
                "output '{name}' has shape {}, but the model configuration says {}{reshape}",
                tensor.shape,
                if batched { "[batch] and then " } else { "" },
            ))
        })?,
    };
    tensor.shape = match leading {
        Some(leading) => shown.with_leading(leading),
        None => shown,
    };
    Ok(())
}

/// Takes rows off the front of an output.
struct Splitter {
    tensor: Tensor,
    rest: Rest,
    /// Elements of one row; `None` if the tensor has no rows to take.
    row_elements: Option<usize>,
}

impl Splitter {
    fn new(tensor: Tensor) -> Self {
        let row_elements = tensor
            .shape
            .split_first()
            .and_then(|(_, row)| Shape::from(row).element_count());
        Self {
            rest: Rest::of(&tensor.data),
            row_elements,
            tensor,
        }
    }

    fn take(&mut self, rows: usize) -> Result<Tensor, BackendError> {
        let data = self.take_data(rows).ok_or_else(|| {
            BackendError::Failed(format!(
                "an output of shape {} holds fewer bytes than its shape needs",
                self.tensor.shape
            ))
        })?;
        let mut shape = self.tensor.shape.clone();
        shape.set(0, i64::try_from(rows).unwrap_or(i64::MAX));
        Ok(Tensor {
            datatype: self.tensor.datatype,
            shape,
            data,
        })
    }

    fn take_data(&mut self, rows: usize) -> Option<Buffer> {
        let elements = self.row_elements?.checked_mul(rows)?;
        let byte_size = match (&self.rest, self.tensor.datatype) {
            (Rest::Host(rest), Datatype::Bytes) => BytesTensor::prefix_byte_size(rest, elements)?,
            (_, datatype) => elements.checked_mul(datatype.element_byte_size()?)?,
        };
        self.rest.take(byte_size)
    }
}

/// What has not been taken of an output: on a device, if nobody reads it on the host.
enum Rest {
    Host(Bytes),
    Device(DeviceSpan),
    Elsewhere,
}

impl Rest {
    fn of(data: &Buffer) -> Self {
        match (data.to_host_bytes(), device_span(data)) {
            (Some(bytes), _) => Self::Host(bytes),
            (None, Some(span)) => Self::Device(span.clone()),
            (None, None) => Self::Elsewhere,
        }
    }

    fn take(&mut self, byte_size: usize) -> Option<Buffer> {
        match self {
            Self::Host(rest) => {
                let taken = (byte_size <= rest.len()).then(|| rest.split_to(byte_size))?;
                Some(Buffer::Host(taken))
            }
            Self::Device(rest) => {
                let taken = rest.part(0, byte_size)?;
                *rest = rest.part(byte_size, rest.byte_size() - byte_size)?;
                Some(Buffer::Foreign(Arc::new(taken)))
            }
            Self::Elsewhere => None,
        }
    }
}
