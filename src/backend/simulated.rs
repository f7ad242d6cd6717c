//! A backend that computes nothing and takes as long as it is told: a stand-in for an engine in
//! tests, benchmarks and capacity planning.
//!
//! Parameter `latency_us` is a number (for every batch size), or a list such as `1:500,8:900`:
//! microseconds by batch size, linear between the points and beyond the last two. Outputs are
//! zeros of the configured shape, variable dimensions being 1 (BYTES: empty strings). On a GPU its
//! memory is set to zeros on the compute stream, and the time is spent before that, by the instance.
//!
//! On a GPU an instance takes `weights_byte_size` and `workspace_byte_size` bytes of its memory as well,
//! as an engine would.

use std::{sync::Arc, thread, time::Duration};

use super::{
    Backend, BackendError, Batch, DeviceExecutor, Executor, Graphs, LoadSpec, on_device,
    parameters::parameter,
};
use crate::{
    device::{
        Device, Entry, Lane, Purpose,
        cuda::{DeviceMemory, Work},
    },
    model_config::{ModelConfig, OutputSpec},
    tensor::{Buffer, Datatype, Shape, Tensor},
};

/// The `simulated` backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn usable_on(&self, _device: Device) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        let script = Script {
            latency: Latency::of(spec.config)?,
            outputs: spec.config.outputs.clone(),
            batched: spec.config.max_batch_size > 0,
        };
        Ok(match device {
            Device::Host => Box::new(script),
            Device::Cuda(ordinal) => {
                let lane = on_device::lane(spec, ordinal)?;
                let held = [
                    held(spec.config, &lane, "weights_byte_size", Purpose::Weights)?,
                    held(
                        spec.config,
                        &lane,
                        "workspace_byte_size",
                        Purpose::Workspace,
                    )?,
                ];
                let mut script = DeviceScript {
                    lane,
                    graphs: Graphs::default(),
                    script,
                    _held: held,
                };
                script.graphs = Graphs::capture(&mut script, spec.config)?;
                Box::new(script)
            }
        })
    }
}

struct Script {
    latency: Latency,
    outputs: Vec<OutputSpec>,
    batched: bool,
}

impl Executor for Script {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        self.wait(batch.batch_size);
        for (index, spec) in self.outputs.iter().enumerate() {
            if batch.wants(index)
                && let Some(output) = batch.outputs.get_mut(index)
            {
                *output = Some(zeros(spec, self.batched.then_some(batch.batch_size))?);
            }
        }
        Ok(())
    }
}

struct DeviceScript {
    lane: Arc<Lane>,
    graphs: Graphs,
    script: Script,
    _held: [Held; 2],
}

/// Memory of the device, if any is wanted, and its entry on the instance's account.
type Held = Option<(Arc<DeviceMemory>, Entry)>;

fn held(
    config: &ModelConfig,
    lane: &Lane,
    name: &str,
    purpose: Purpose,
) -> Result<Held, BackendError> {
    let byte_size = parameter::<usize>(config, name)?.unwrap_or(0);
    if byte_size == 0 {
        return Ok(None);
    }
    let memory = DeviceMemory::new(lane.device().context(), byte_size)?;
    Ok(Some((memory, lane.account().hold(purpose, byte_size))))
}

impl DeviceExecutor for DeviceScript {
    fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    fn prepare(&mut self, row_count: usize) {
        self.script.wait(row_count);
    }

    fn enqueue(&mut self, batch: &mut Batch, work: &mut Work) -> Result<(), BackendError> {
        let rows = self.script.batched.then_some(batch.batch_size);
        for (index, spec) in self.script.outputs.iter().enumerate() {
            if batch.wants(index)
                && let Some(output) = batch.outputs.get_mut(index)
            {
                let (tensor, span) = on_device::output_tensor(&self.lane, spec, rows)?;
                work.fill(self.lane.compute(), &span, 0)?;
                *output = Some(tensor);
            }
        }
        Ok(())
    }
}

impl Executor for DeviceScript {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        on_device::execute_alone(self, batch)
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceExecutor> {
        Some(self)
    }
}

impl Script {
    fn wait(&self, rows: usize) {
        let latency = self.latency.at(rows);
        if !latency.is_zero() {
            thread::sleep(latency);
        }
    }
}

fn zeros(spec: &OutputSpec, rows: Option<usize>) -> Result<Tensor, BackendError> {
    let dims = spec.reshape.as_ref().unwrap_or(&spec.dims);
    let mut shape: Shape = dims.iter().map(|&dim| dim.max(1)).collect();
    if let Some(rows) = rows {
        shape = shape.with_leading(i64::try_from(rows).unwrap_or(i64::MAX));
    }
    // A BYTES element that is empty is four zero bytes: its length.
    let element = spec.datatype.element_byte_size().unwrap_or(4);
    let byte_size = shape
        .element_count()
        .and_then(|count| count.checked_mul(element))
        .ok_or_else(|| {
            BackendError::InvalidModel(format!(
                "output '{}' of shape {shape} is too large",
                spec.name
            ))
        })?;
    debug_assert!(
        spec.datatype == Datatype::Bytes || shape.byte_size(spec.datatype) == Some(byte_size)
    );
    Ok(Tensor {
        datatype: spec.datatype,
        shape,
        data: Buffer::from(vec![0; byte_size]),
    })
}

/// Latency as a function of the batch size, piecewise linear.
#[derive(Clone, Debug, PartialEq)]
struct Latency {
    /// `(rows, microseconds)`, ascending, never empty.
    points: Vec<(f64, f64)>,
}

impl Latency {
    fn of(config: &ModelConfig) -> Result<Self, BackendError> {
        let text = config
            .parameters
            .get("latency_us")
            .map_or("0", String::as_str);
        Self::parse(text).ok_or_else(|| {
            BackendError::InvalidModel(format!(
                "parameter 'latency_us' of model '{}' has value '{text}', expected microseconds \
                 such as '500' or, by ascending batch size, '1:500,8:900'",
                config.name
            ))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let number: f64 = text.trim().parse().ok()?;
            (0.0..=1e9).contains(&number).then_some(number)
        };
        if let Some(constant) = number(text) {
            return Some(Self {
                points: vec![(1.0, constant)],
            });
        }
        let points: Vec<_> = text
            .split(',')
            .map(|point| {
                let (rows, microseconds) = point.split_once(':')?;
                Some((number(rows)?, number(microseconds)?))
            })
            .collect::<Option<_>>()?;
        points
            .is_sorted_by(|a, b| a.0 < b.0)
            .then_some(Self { points })
    }

    fn at(&self, rows: usize) -> Duration {
        #[allow(clippy::cast_precision_loss)] // batch sizes are small
        let rows = rows as f64;
        let after = self.points.partition_point(|&(size, _)| size < rows);
        let last = self.points.len() - 1;
        let microseconds = match (
            self.points.get(after.clamp(1, last.max(1)) - 1),
            self.points.get(after.clamp(1, last.max(1))),
        ) {
            (Some(&(size_a, a)), Some(&(size_b, b))) if rows > size_a => {
                a + (b - a) * (rows - size_a) / (size_b - size_a)
            }
            (Some(&(_, only)), _) => only,
            (None, _) => 0.0,
        };
        Duration::from_secs_f64(microseconds.max(0.0) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(script: &str, rows: usize) -> u128 {
        Latency::parse(script).unwrap().at(rows).as_micros()
    }

    #[test]
    fn latency_is_constant_or_linear_between_points() {
        assert_eq!(at("250", 7), 250);
        assert_eq!(at("1:100,5:500", 1), 100);
        assert_eq!(at("1:100,5:500", 3), 300);
        assert_eq!(at("1:100,5:500", 9), 900);
        assert_eq!(at("4:100,8:500,16:600", 2), 100);
        assert_eq!(at("4:100,8:500,16:600", 12), 550);
    }

    #[test]
    fn refuses_what_is_no_latency() {
        for bad in [
            "",
            "x",
            "-1",
            "1:",
            "8:900,1:500",
            "1:2,1:3",
            "NaN",
            "1e300",
        ] {
            assert_eq!(Latency::parse(bad), None, "{bad}");
        }
    }
}
