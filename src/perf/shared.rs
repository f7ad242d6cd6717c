//! Memory that requests only name: where in it the tensors of each sample lie.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    process,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

use super::{control::Control, data::Sample, model::Model};
use crate::{
    device::{
        Inventory,
        cuda::{Context, DeviceMemory},
    },
    tensor::Shape,
};

/// Which memory tensors travel in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedMemory {
    /// In the requests themselves.
    #[default]
    None,
    /// POSIX shared memory.
    System,
    /// Memory of the first GPU.
    Cuda,
}

/// The GPU whose memory is shared.
const ORDINAL: u32 = 0;

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

/// A region that the server may know. Its memory goes with the value.
#[derive(Debug)]
pub(super) struct Region {
    name: String,
    byte_size: u64,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    System { path: PathBuf, file: File },
    Cuda(Arc<DeviceMemory>),
}

impl Region {
    fn create(kind: SharedMemory, name: String, byte_size: u64) -> Result<Self> {
        let memory = match kind {
            SharedMemory::Cuda => Memory::cuda(byte_size)?,
            SharedMemory::None | SharedMemory::System => Memory::system(&name, byte_size)?,
        };
        Ok(Self {
            name,
            byte_size,
            memory,
        })
    }

    fn write(&self, bytes: &Bytes, offset: u64) -> Result<()> {
        match &self.memory {
            Memory::System { file, .. } => file.write_all_at(bytes, offset)?,
            Memory::Cuda(memory) => {
                let span = memory.span(usize::try_from(offset)?, bytes.len());
                span.context("the region is too small")?
                    .store(bytes.clone())?;
            }
        }
        Ok(())
    }

    /// Tells the server of it.
    fn register(&self, control: &Control) -> Result<()> {
        match &self.memory {
            Memory::System { .. } => {
                control.register_system(&self.name, &format!("/{}", self.name), self.byte_size)
            }
            Memory::Cuda(memory) => {
                let handle = memory
                    .share()
                    .context("the GPU's memory cannot be shared")?;
                control.register_cuda(&self.name, &handle, ORDINAL, self.byte_size)
            }
        }
    }

    /// Tells the server that it is no more.
    pub(super) fn unregister(&self, control: &Control) -> Result<()> {
        match &self.memory {
            Memory::System { .. } => control.unregister_system(&self.name),
            Memory::Cuda(_) => control.unregister_cuda(&self.name),
        }
    }
}

impl Memory {
    fn system(name: &str, byte_size: u64) -> Result<Self> {
        let path = PathBuf::from("/dev/shm").join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot make shared memory {}", path.display()))?;
        let length = file.set_len(byte_size);
        let memory = Self::System { path, file };
        length?;
        Ok(memory)
    }

    fn cuda(byte_size: u64) -> Result<Self> {
        if let Some(reason) = Inventory::probe().no_gpu_reason {
            bail!("--shared-memory cuda needs a GPU here: {reason}");
        }
        let context = Context::open(ORDINAL)?;
        Ok(Self::Cuda(DeviceMemory::new(
            &context,
            usize::try_from(byte_size)?,
        )?))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Self::System { path, .. } = self {
            // Nothing can be done about a file that is gone.
            let _ = fs::remove_file(path);
        }
    }
}

/// Puts the samples of a model into memory of that kind that the server is told of: a region of inputs
/// and one of outputs, which all requests share. `output_byte_size` is the room for an output whose
/// size the model does not tell, for each row.
pub(super) fn place(
    kind: SharedMemory,
    control: &Control,
    model: &Model,
    samples: &[Sample],
    output_byte_size: u64,
) -> Result<(Vec<Placement>, Vec<Region>)> {
    let rooms = output_rooms(model, batch_size(model, samples), output_byte_size);
    let inputs = samples.iter().map(sample_byte_size).sum();
    let inputs = Region::create(kind, name(model, "inputs"), u64::max(inputs, 1))?;
    let outputs = rooms.iter().sum();
    let outputs = Region::create(kind, name(model, "outputs"), u64::max(outputs, 1))?;
    let mut offset = 0;
    let mut placements = Vec::new();
    for sample in samples {
        let mut places = Vec::new();
        for tensor in &sample.inputs {
            inputs.write(&tensor.data, offset)?;
            places.push(placed(&inputs, &mut offset, tensor.data.len() as u64));
        }
        let mut offset = 0;
        let rooms = rooms
            .iter()
            .map(|&size| placed(&outputs, &mut offset, size));
        placements.push(Placement {
            inputs: places,
            outputs: rooms.collect(),
        });
    }
    let regions = vec![inputs, outputs];
    for region in &regions {
        region.register(control)?;
    }
    Ok((placements, regions))
}

fn name(model: &Model, what: &str) -> String {
    let model = model.name.replace('/', "_");
    format!("despina_perf_{}_{model}_{what}", process::id())
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
    let sizes = sample.inputs.iter().map(|tensor| tensor.data.len() as u64);
    sizes.sum()
}

/// Rows of a request.
fn batch_size(model: &Model, samples: &[Sample]) -> u64 {
    let first = samples.first().and_then(|sample| sample.inputs.first());
    let rows = first.and_then(|tensor| tensor.shape.first());
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
