//! Warm-up: the requests that a configuration names, run on each instance before it is ready.

use std::{fs, path::Path};

use smallvec::SmallVec;

use crate::{
    backend::{BackendError, Batch, BatchInput, Executor},
    model_config::{ModelConfig, WarmupData, WarmupInput, WarmupSample},
    tensor::{Buffer, Datatype, Shape, Tensor},
};

/// A batch and how often to run it.
pub(super) struct Warmup {
    name: String,
    batch: Batch,
    count: usize,
}

impl Warmup {
    /// What it runs.
    pub(super) fn into_batch(self) -> Batch {
        self.batch
    }
}

/// A batch of random inputs of those shapes, by name.
///
/// # Errors
/// If one is too large.
pub(super) fn random_batch(
    config: &ModelConfig,
    shapes: &[(String, Shape)],
) -> Result<Batch, BackendError> {
    let mut inputs: SmallVec<[BatchInput; 2]> = SmallVec::new();
    for (index, spec) in config.inputs.iter().enumerate() {
        let Some((_, shape)) = shapes.iter().find(|(name, _)| **name == *spec.name) else {
            continue;
        };
        let input = WarmupInput {
            datatype: spec.datatype,
            dims: shape.clone(),
            data: WarmupData::Random,
        };
        let tensor = tensor(&spec.name, &input, None, Path::new(""))?;
        inputs.push(BatchInput { index, tensor });
    }
    let rows = inputs
        .first()
        .and_then(|input| input.tensor.shape.first().copied());
    let rows = rows.filter(|_| config.max_batch_size > 0);
    let rows = rows.and_then(|rows| rows.try_into().ok());
    Ok(whole(config, rows.unwrap_or(1), inputs))
}

/// Builds the batches; files are read from `<model>/warmup/`.
pub(super) fn batches(
    config: &ModelConfig,
    model_folder: &Path,
) -> Result<Vec<Warmup>, BackendError> {
    config
        .warmup
        .iter()
        .filter(|sample| sample.batch_size > 0)
        .map(|sample| {
            let batch = batch(sample, config, &model_folder.join("warmup")).map_err(|error| {
                BackendError::InvalidModel(format!("warmup sample '{}': {error}", sample.name))
            })?;
            Ok(Warmup {
                name: sample.name.clone(),
                batch,
                count: sample.count,
            })
        })
        .collect()
}

/// Runs them all on one executor.
pub(super) fn run(executor: &mut dyn Executor, samples: &[Warmup]) -> Result<(), BackendError> {
    for sample in samples {
        for _ in 0..sample.count {
            executor
                .execute(&mut sample.batch.clone())
                .map_err(|error| {
                    BackendError::InvalidModel(format!(
                        "warmup sample '{}' failed: {error}",
                        sample.name
                    ))
                })?;
        }
    }
    Ok(())
}

fn batch(
    sample: &WarmupSample,
    config: &ModelConfig,
    folder: &Path,
) -> Result<Batch, BackendError> {
    let mut inputs: SmallVec<[BatchInput; 2]> = SmallVec::new();
    for (name, input) in &sample.inputs {
        let index = config
            .inputs
            .iter()
            .position(|spec| *spec.name == **name)
            .ok_or_else(|| {
                BackendError::InvalidModel(format!("model '{}' has no input '{name}'", config.name))
            })?;
        let rows = (config.max_batch_size > 0).then_some(sample.batch_size);
        inputs.push(BatchInput {
            index,
            tensor: tensor(name, input, rows, folder)?,
        });
    }
    inputs.sort_by_key(|input| input.index);
    let rows = (config.max_batch_size > 0).then_some(sample.batch_size);
    Ok(whole(config, rows.unwrap_or(1), inputs))
}

/// A batch of which every output is wanted.
fn whole(config: &ModelConfig, batch_size: usize, inputs: SmallVec<[BatchInput; 2]>) -> Batch {
    Batch {
        batch_size,
        inputs,
        wanted: (0..config.outputs.len()).collect(),
        outputs: vec![None; config.outputs.len()],
    }
}

fn tensor(
    name: &str,
    input: &WarmupInput,
    rows: Option<usize>,
    folder: &Path,
) -> Result<Tensor, BackendError> {
    // One element of BYTES is at least its length.
    let element = input.datatype.element_byte_size().unwrap_or(4);
    let too_large = || {
        BackendError::InvalidModel(format!(
            "input '{name}' of shape {} is too large",
            input.dims
        ))
    };
    let row = input
        .dims
        .element_count()
        .and_then(|count| count.checked_mul(element))
        .ok_or_else(too_large)?;
    let one = match &input.data {
        WarmupData::Zero => vec![0; row],
        WarmupData::Random if input.datatype == Datatype::Bytes => vec![0; row],
        WarmupData::Random => random(input.datatype, row / element),
        WarmupData::File(file) => fs::read(folder.join(file)).map_err(|error| {
            BackendError::InvalidModel(format!("{}: {error}", folder.join(file).display()))
        })?,
    };
    if input.datatype != Datatype::Bytes && one.len() != row {
        return Err(BackendError::InvalidModel(format!(
            "input '{name}' needs {row} bytes a row, its file holds {}",
            one.len()
        )));
    }
    let shape = match rows {
        Some(rows) => input
            .dims
            .with_leading(i64::try_from(rows).map_err(|_| too_large())?),
        None => input.dims.clone(),
    };
    Ok(Tensor {
        datatype: input.datatype,
        shape,
        data: Buffer::from(one.repeat(rows.unwrap_or(1))),
    })
}

/// Small numbers, different from each other: fractions for floats, 0 to 9 for integers.
fn random(datatype: Datatype, count: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    let mut bytes = Vec::new();
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let small = u8::try_from((state >> 24) % 10).unwrap_or(0);
        let fraction = f32::from(small) / 10.0;
        match datatype {
            Datatype::Fp16 => bytes.extend(half::f16::from_f32(fraction).to_le_bytes()),
            Datatype::Bf16 => bytes.extend(half::bf16::from_f32(fraction).to_le_bytes()),
            Datatype::Fp32 => bytes.extend(fraction.to_le_bytes()),
            Datatype::Fp64 => bytes.extend(f64::from(fraction).to_le_bytes()),
            Datatype::Bool => bytes.push(small % 2),
            integer => {
                bytes.push(small);
                bytes.extend(std::iter::repeat_n(
                    0,
                    integer.element_byte_size().unwrap_or(1) - 1,
                ));
            }
        }
    }
    bytes
}
