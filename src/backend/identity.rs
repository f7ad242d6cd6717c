//! The backend that answers with its inputs: output *i* is input *i*. For tests of everything but
//! an engine, with the test parameters of Triton's backend of this name.
//!
//! On a GPU the inputs are copied within the device's memory, on its compute stream.
//!
//! Parameters: `execute_delay_ms` (each execution takes at least this long),
//! `instance_wise_delay_multiplier` (instance *i* takes *i* times that), `creation_delay_sec`
//! (loading takes that long).

use std::{sync::Arc, thread, time::Duration};

use super::{
    Backend, BackendError, Batch, DeviceExecutor, Executor, Graphs, LoadSpec, on_device,
    parameters::{duration, parameter},
};
use crate::{
    device::{Device, Lane, cuda::Work},
    tensor::{Buffer, Tensor},
};

/// The `identity` backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn usable_on(&self, _device: Device) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(&self, spec: &LoadSpec<'_>, device: Device) -> Result<Box<dyn Executor>, BackendError> {
        let config = spec.config;
        for (input, output) in config.inputs.iter().zip(&config.outputs) {
            if input.datatype != output.datatype {
                return Err(BackendError::InvalidModel(format!(
                    "the identity backend copies input '{}' to output '{}', but their datatypes are {} and {}",
                    input.name, output.name, input.datatype, output.datatype
                )));
            }
        }
        if config.outputs.len() > config.inputs.len() {
            return Err(BackendError::InvalidModel(format!(
                "the identity backend needs an input for each output, model '{}' has {} inputs and {} outputs",
                config.name,
                config.inputs.len(),
                config.outputs.len()
            )));
        }
        thread::sleep(duration(
            config,
            "creation_delay_sec",
            Duration::from_secs(1),
        )?);
        let mut delay = duration(config, "execute_delay_ms", Duration::from_millis(1))?;
        if parameter::<u32>(config, "instance_wise_delay_multiplier")?
            .is_some_and(|multiplier| multiplier > 0)
        {
            let ordinal = spec
                .instance
                .rsplit('_')
                .next()
                .and_then(|text| text.parse::<u32>().ok());
            delay = delay.saturating_mul(ordinal.unwrap_or(0));
        }
        Ok(match device {
            Device::Host => Box::new(Copier { delay }),
            Device::Cuda(ordinal) => {
                let mut copier = DeviceCopier {
                    lane: on_device::lane(spec, ordinal)?,
                    graphs: Graphs::default(),
                    delay,
                };
                copier.graphs = Graphs::capture(&mut copier, config)?;
                Box::new(copier)
            }
        })
    }
}

struct Copier {
    delay: Duration,
}

impl Executor for Copier {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        if !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        for input in &batch.inputs {
            if batch.wants(input.index)
                && let Some(output) = batch.outputs.get_mut(input.index)
            {
                *output = Some(input.tensor.clone());
            }
        }
        Ok(())
    }
}

struct DeviceCopier {
    lane: Arc<Lane>,
    graphs: Graphs,
    delay: Duration,
}

impl DeviceExecutor for DeviceCopier {
    fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    fn prepare(&mut self, _row_count: usize) {
        if !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
    }

    fn enqueue(&mut self, batch: &mut Batch, work: &mut Work) -> Result<(), BackendError> {
        let Batch {
            inputs,
            outputs,
            wanted,
            ..
        } = batch;
        for input in inputs.iter() {
            let Some(output) = outputs.get_mut(input.index) else {
                continue;
            };
            if wanted.binary_search(&input.index).is_ok() {
                *output = Some(self.copy(&input.tensor, work)?);
            }
        }
        Ok(())
    }
}

impl DeviceCopier {
    fn copy(&self, input: &Tensor, work: &mut Work) -> Result<Tensor, BackendError> {
        let source = on_device::device_span(&input.data)
            .ok_or_else(|| BackendError::Failed("an input is not on the device".to_owned()))?;
        let copy = self.lane.pool().take(input.data.byte_size())?;
        work.copy(self.lane.compute(), &copy, source)?;
        Ok(Tensor {
            data: Buffer::Foreign(Arc::new(copy)),
            ..input.clone()
        })
    }
}

impl Executor for DeviceCopier {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        on_device::execute_alone(self, batch)
    }

    fn on_device(&mut self) -> Option<&mut dyn DeviceExecutor> {
        Some(self)
    }
}
