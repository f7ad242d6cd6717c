//! Shared memory that requests only name: where in it the tensors of each sample lie.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    process,
};

use anyhow::{Context, Result};

use super::{control::Control, data::Sample, model::Model};
use crate::tensor::Shape;

/// Which memory tensors travel in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedMemory {
    /// In the requests themselves.
    #[default]
    None,
    /// POSIX shared memory.
    System,
}

/// One tensor's place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) region: String,
    pub(super) offset: u64,
    pub(super) byte_size: u64,
}

/// The places of one sample's inputs, and of the outputs of all.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    pub(super) inputs: Vec<Placed>,
    pub(super) outputs: Vec<Placed>,
}

/// A region that the server knows. The file goes with the value.
#[derive(Debug)]
pub(super) struct Region {
    name: String,
    path: PathBuf,
    file: File,
    byte_size: u64,
}

impl Region {
    fn create(name: String, byte_size: u64) -> Result<Self> {
        let path = PathBuf::from("/dev/shm").join(&name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot make shared memory {}", path.display()))?;
        let region = Self {
            name,
            path,
            file,
            byte_size,
        };
        region.file.set_len(byte_size)?;
        Ok(region)
    }

    /// Tells the server that it is no more.
    pub(super) fn unregister(&self, control: &Control) -> Result<()> {
        control.unregister_system(&self.name)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Nothing can be done about a file that is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Puts the samples of a model into shared memory that the server is told of: a region of inputs and
/// one of outputs, which all requests share. `output_byte_size` is the room for an output whose size
/// the model does not tell, for each row.
pub(super) fn place(
    control: &Control,
    model: &Model,
    samples: &[Sample],
    output_byte_size: u64,
) -> Result<(Vec<Placement>, Vec<Region>)> {
    let batch_size = batch_size(model, samples);
    let name = |what: &str| {
        format!(
            "despina_perf_{}_{}_{what}",
            process::id(),
            model.name.replace('/', "_")
        )
    };
    let room: Vec<u64> = output_rooms(model, batch_size, output_byte_size);
    let inputs = Region::create(
        name("inputs"),
        samples.iter().map(sample_byte_size).sum::<u64>().max(1),
    )?;
    let outputs = Region::create(name("outputs"), room.iter().sum::<u64>().max(1))?;
    let mut offset = 0;
    let mut placements = Vec::new();
    for sample in samples {
        let mut places = Vec::new();
        for tensor in &sample.inputs {
            inputs.file.write_all_at(&tensor.data, offset)?;
            places.push(placed(&inputs, &mut offset, tensor.data.len() as u64));
        }
        let mut output_offset = 0;
        let rooms = room.iter();
        placements.push(Placement {
            inputs: places,
            outputs: rooms
                .map(|&size| placed(&outputs, &mut output_offset, size))
                .collect(),
        });
    }
    for region in [&inputs, &outputs] {
        control.register_system(&region.name, &format!("/{}", region.name), region.byte_size)?;
    }
    Ok((placements, vec![inputs, outputs]))
}

fn placed(region: &Region, offset: &mut u64, byte_size: u64) -> Placed {
    let placed = Placed {
        region: region.name.clone(),
        offset: *offset,
        byte_size,
    };
    *offset += byte_size;
    placed
}

fn sample_byte_size(sample: &Sample) -> u64 {
    sample
        .inputs
        .iter()
        .map(|tensor| tensor.data.len() as u64)
        .sum()
}

/// Rows of a request.
fn batch_size(model: &Model, samples: &[Sample]) -> u64 {
    let rows = samples
        .first()
        .and_then(|sample| sample.inputs.first()?.shape.first());
    let rows = rows.filter(|_| model.batched).copied().unwrap_or(1);
    u64::try_from(rows).unwrap_or(1)
}

/// The room that each output takes in a region.
fn output_rooms(model: &Model, batch_size: u64, unknown: u64) -> Vec<u64> {
    let outputs = model.outputs.iter();
    outputs
        .map(|spec| {
            let known = Shape::from(&spec.dims[..]).byte_size(spec.datatype);
            let known = known.and_then(|size| u64::try_from(size).ok());
            known.unwrap_or(unknown).saturating_mul(batch_size)
        })
        .collect()
}
