//! The backend that makes of images what networks want: its input, UINT8 `[height, width, channels]`,
//! becomes its output, FP32 or FP16 `[channels, height, width]` of another size, resized bilinearly
//! (pixels are areas, edges repeat; no filter when shrinking). On the CPU in plain Rust, on a GPU by a
//! kernel, with the same result.
//!
//! Parameters: `scale` and `offset`, by which pixels are multiplied and then shifted: a number for all
//! channels, or one for each, with commas between. 1 and 0 if not set. For a mean and a standard
//! deviation of pixels from 0 to 1, `scale` is 1 / (255 · deviation) and `offset` is -mean / deviation.

use std::{str::FromStr, sync::Arc};

use half::f16;

use super::{Backend, BackendError, Batch, DeviceExecutor, Executor, Graphs, LoadSpec, on_device};
use crate::{
    device::{
        Device, Lane,
        cuda::{Kernels, Work},
        kernels::{
            ImageDatatype,
            plain::{FromF32, Image, preprocess},
        },
    },
    model_config::{ModelConfig, OutputSpec},
    tensor::{Datatype, Shape, Tensor},
};

/// The `image_preprocess` backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImagePreprocess;

impl Backend for ImagePreprocess {
    fn name(&self) -> &'static str {
        "image_preprocess"
    }

    fn usable_on(&self, _device: Device) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        let recipe = Recipe::of(spec.config)?;
        let Device::Cuda(ordinal) = device else {
            return Ok(Box::new(OnHost(recipe)));
        };
        let lane = on_device::lane(spec, ordinal)?;
        let kernels = lane.device().kernels().cloned().ok_or_else(|| {
            BackendError::Unavailable(format!("there are no kernels for {device}"))
        })?;
        let mut executor = OnDevice {
            lane,
            kernels,
            graphs: Graphs::default(),
            recipe,
        };
        executor.graphs = Graphs::capture(&mut executor, spec.config)?;
        Ok(Box::new(executor))
    }
}

/// What is done to every image.
#[derive(Debug)]
struct Recipe {
    size: [u16; 2],
    out_size: [u16; 2],
    /// Scale and offset of each.
    channels: Vec<(f32, f32)>,
    datatype: ImageDatatype,
    output: OutputSpec,
    is_batched: bool,
}

impl Recipe {
    fn of(config: &ModelConfig) -> Result<Self, BackendError> {
        let ([input], [output]) = (&*config.inputs, &*config.outputs) else {
            return Err(refuse(config, "must have one input and one output"));
        };
        let (Some([height, width, channels]), Some([planes, out_height, out_width])) =
            (sides(&input.dims), sides(&output.dims))
        else {
            let what = "must have an input of [height, width, channels] and an output of [channels, \
                        height, width], all of them from 1 to 65535";
            return Err(refuse(config, what));
        };
        let datatype = match (input.datatype, output.datatype) {
            (Datatype::Uint8, Datatype::Fp32) => ImageDatatype::Fp32,
            (Datatype::Uint8, Datatype::Fp16) => ImageDatatype::Fp16,
            _ => return Err(refuse(config, "must turn UINT8 into FP32 or FP16")),
        };
        if planes != channels || usize::from(channels) > Image::MAX_CHANNELS {
            return Err(refuse(
                config,
                "must have as many channels in its output as in its input, at most 4",
            ));
        }
        let scale = numbers(config, "scale", 1.0, channels.into())?;
        let offset = numbers(config, "offset", 0.0, channels.into())?;
        Ok(Self {
            size: [height, width],
            out_size: [out_height, out_width],
            channels: scale.into_iter().zip(offset).collect(),
            datatype,
            output: output.clone(),
            is_batched: config.max_batch_size > 0,
        })
    }

    fn image(&self, count: usize) -> Result<Image, BackendError> {
        u32::try_from(count)
            .ok()
            .and_then(|count| Image::new(count, self.size, self.out_size, &self.channels))
            .ok_or_else(|| BackendError::InvalidInput(format!("{count} images are too many")))
    }

    fn rows(&self, count: usize) -> Option<usize> {
        self.is_batched.then_some(count)
    }
}

struct OnHost(Recipe);

impl Executor for OnHost {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        let image = self.0.image(batch.batch_size)?;
        let input = batch.input(0).and_then(|input| input.data.host());
        let pixels = input.ok_or_else(no_input)?;
        let data = match self.0.datatype {
            ImageDatatype::Fp32 => planes(&image, pixels, 0.0, f32::to_le_bytes),
            ImageDatatype::Fp16 => planes(&image, pixels, f16::ZERO, f16::to_le_bytes),
        };
        let mut shape: Shape = self.0.output.dims.clone();
        if let Some(rows) = self.0.rows(batch.batch_size) {
            shape = shape.with_leading(i64::try_from(rows).unwrap_or(i64::MAX));
        }
        let tensor = Tensor {
            datatype: self.0.output.datatype,
            shape,
            data: data.ok_or_else(no_input)?.into(),
        };
        if let Some(output) = batch.outputs.first_mut() {
            *output = Some(tensor);
        }
        Ok(())
    }
}

fn planes<To: FromF32 + Clone, const SIZE: usize>(
    image: &Image,
    pixels: &[u8],
    zero: To,
    bytes: fn(To) -> [u8; SIZE],
) -> Option<Vec<u8>> {
    let mut planes = vec![zero; usize::try_from(image.element_count()).ok()?];
    preprocess(image, pixels, &mut planes)?;
    Some(planes.into_iter().flat_map(bytes).collect())
}

struct OnDevice {
    lane: Arc<Lane>,
    kernels: Arc<Kernels>,
    graphs: Graphs,
    recipe: Recipe,
}

impl DeviceExecutor for OnDevice {
    fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    fn enqueue(&mut self, batch: &mut Batch, work: &mut Work) -> Result<(), BackendError> {
        let image = self.recipe.image(batch.batch_size)?;
        let input = batch.input(0).map(|input| &input.data);
        let from = input
            .and_then(on_device::device_span)
            .ok_or_else(no_input)?;
        let rows = self.recipe.rows(batch.batch_size);
        let (tensor, to) = on_device::output_tensor(&self.lane, &self.recipe.output, rows)?;
        let format = (self.recipe.datatype, image);
        self.kernels
            .preprocess(work, self.lane.compute(), format, from, &to)?;
        if let Some(output) = batch.outputs.first_mut() {
            *output = Some(tensor);
        }
        Ok(())
    }
}

impl Executor for OnDevice {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        on_device::execute_alone(self, batch)
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceExecutor> {
        Some(self)
    }
}

/// Three dimensions that an image can have.
fn sides(dims: &Shape) -> Option<[u16; 3]> {
    let sides: Vec<u16> = dims
        .iter()
        .map(|&dim| u16::try_from(dim).ok().filter(|&side| side > 0))
        .collect::<Option<_>>()?;
    sides.try_into().ok()
}

/// One number for all channels, or one for each.
fn numbers(
    config: &ModelConfig,
    name: &str,
    default: f32,
    count: usize,
) -> Result<Vec<f32>, BackendError> {
    let Some(text) = config.parameters.get(name) else {
        return Ok(vec![default; count]);
    };
    let number = |text: &str| f32::from_str(text.trim()).ok().filter(|it| it.is_finite());
    let numbers: Option<Vec<f32>> = text.split(',').map(number).collect();
    match numbers.as_deref() {
        Some([one]) => Ok(vec![*one; count]),
        Some(each) if each.len() == count => Ok(each.to_vec()),
        _ => Err(BackendError::InvalidModel(format!(
            "parameter '{name}' of model '{}' has value '{text}', expected a number, or {count} \
             with commas between",
            config.name
        ))),
    }
}

fn no_input() -> BackendError {
    BackendError::InvalidInput("the image is not there, or not of the configured size".to_owned())
}

fn refuse(config: &ModelConfig, what: &str) -> BackendError {
    BackendError::InvalidModel(format!(
        "model '{}' of the image_preprocess backend {what}",
        config.name
    ))
}

#[cfg(test)]
#[path = "image_preprocess_tests.rs"]
mod tests;
