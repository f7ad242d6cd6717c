//! What requests carry: random, zero, or from files.

mod elements;
mod folder;
mod json;
mod npy;
mod random;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use super::model::{Model, TensorSpec};
use crate::tensor::{Datatype, Shape};

pub(super) use self::elements::{json_elements, push_json};

/// Where the inputs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Random numbers: from 0 to 1, or whole ones from 0 to 100; random letters for text.
    Random,
    /// Zeros; empty texts.
    Zero,
    /// Files of JSON as perf_analyzer reads them, one `.npy` file for a model with one input, or a
    /// folder with a file for each input.
    Files(Vec<PathBuf>),
}

/// How requests are filled.
#[derive(Clone, Debug)]
pub struct Data {
    /// Where the inputs come from.
    pub source: Source,
    /// Rows of each request.
    pub batch_size: usize,
    /// Dimensions of inputs whose models leave some open, by name, without the batch dimension.
    pub shapes: Vec<(String, Vec<i64>)>,
    /// Bytes of a random text.
    pub string_length: usize,
    /// What each text is instead of random.
    pub string_data: Option<String>,
    /// Of all that is random.
    pub seed: u64,
}

/// One tensor with its data, the batch dimension included.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// Its elements, as they travel.
    pub data: Bytes,
}

/// What one request carries.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) inputs: Vec<Tensor>,
    /// What some outputs must be; usually unknown.
    pub(super) expected: Vec<Tensor>,
}

/// One row of every input, and what may be known of its outputs.
pub(super) type Row = Sample;

/// The samples of a model, at least one; requests take them in turn.
///
/// # Errors
/// If the data do not fit the model.
pub(super) fn samples(data: &Data, model: &Model) -> Result<Vec<Sample>> {
    ensure!(
        model.batched || data.batch_size == 1,
        "model {} takes no batches: its max_batch_size is 0; leave out -b",
        model.name
    );
    let rows = rows(data, model).with_context(|| format!("input data of model {}", model.name))?;
    let batch_size = if model.batched { data.batch_size } else { 0 };
    // As many samples as there are rows: each begins with another one.
    (0..rows.len())
        .map(|first| batch(&rows, first, batch_size))
        .collect()
}

fn rows(data: &Data, model: &Model) -> Result<Vec<Row>> {
    let Source::Files(paths) = &data.source else {
        return random::rows(data, model);
    };
    let mut rows = Vec::new();
    for path in paths {
        let context = || path.display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let more = if path.is_dir() {
            folder::rows(path, data, model)
        } else if extension == Some("npy") {
            npy::rows(path, model)
        } else {
            json::rows(path, data, model)
        };
        rows.extend(more.with_context(context)?);
    }
    ensure!(!rows.is_empty(), "there is not one row in it");
    Ok(rows)
}

/// A request for `batch_size` rows from `first` on, around the end; 0 for a model without batches.
fn batch(rows: &[Row], first: usize, batch_size: usize) -> Result<Sample> {
    let chosen =
        || (0..batch_size.max(1)).filter_map(|offset| rows.get((first + offset) % rows.len()));
    let side = |of: fn(&Row) -> &Vec<Tensor>| -> Result<Vec<Tensor>> {
        let Some(tensors) = rows.get(first).map(of) else {
            return Ok(Vec::new());
        };
        tensors
            .iter()
            .map(|tensor| {
                let parts =
                    chosen().map(|row| of(row).iter().find(|other| other.name == tensor.name));
                stack(tensor, parts, batch_size)
            })
            .collect()
    };
    Ok(Sample {
        inputs: side(|row| &row.inputs)?,
        expected: side(|row| &row.expected)?,
    })
}

/// Rows of one tensor on top of each other.
fn stack<'a>(
    first: &Tensor,
    parts: impl Iterator<Item = Option<&'a Tensor>>,
    batch_size: usize,
) -> Result<Tensor> {
    let mut bytes = Vec::with_capacity(first.data.len() * batch_size.max(1));
    for part in parts {
        let part = part.with_context(|| format!("a row has no {}", first.name))?;
        if part.shape != first.shape {
            bail!(
                "rows of {} with shapes {:?} and {:?} cannot be one batch",
                first.name,
                first.shape,
                part.shape
            );
        }
        bytes.extend_from_slice(&part.data);
    }
    let mut shape = first.shape.clone();
    if batch_size > 0 {
        shape.insert(0, i64::try_from(batch_size)?);
    }
    Ok(Tensor {
        shape,
        data: bytes.into(),
        ..first.clone()
    })
}

impl Data {
    /// The dimensions of a row of that input.
    fn dims(&self, spec: &TensorSpec) -> Result<Vec<i64>> {
        let given = self.shapes.iter().find(|(name, _)| *name == spec.name);
        let dims = given.map_or(&spec.dims, |(_, dims)| dims);
        ensure!(
            spec.accepts(dims),
            "--shape {}:{dims:?} does not fit the model's {}",
            spec.name,
            spec.shape_text()
        );
        ensure!(
            dims.iter().all(|&dim| dim >= 0),
            "input {} has shape {}; say with --shape {0}:d,d,... what to send for it",
            spec.name,
            spec.shape_text()
        );
        Ok(dims.clone())
    }
}

/// A row of a tensor, which must fit in shape and size.
fn row_tensor(spec: &TensorSpec, dims: Vec<i64>, data: Vec<u8>) -> Result<Tensor> {
    ensure!(
        spec.accepts(&dims),
        "{} is {}, not {dims:?}",
        spec.name,
        spec.shape_text()
    );
    let due = Shape::from(&dims[..]).byte_size(spec.datatype);
    if let Some(due) = due {
        ensure!(
            data.len() == due,
            "{} of shape {dims:?} and datatype {} has {due} bytes, not {}",
            spec.name,
            spec.datatype,
            data.len()
        );
    }
    Ok(Tensor {
        name: spec.name.clone(),
        datatype: spec.datatype,
        shape: dims,
        data: data.into(),
    })
}
