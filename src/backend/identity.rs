//! The backend that answers with its inputs: output *i* is input *i*. For tests of everything but
//! an engine, with the test parameters of Triton's backend of this name.
//!
//! Parameters: `execute_delay_ms` (each execution takes at least this long),
//! `instance_wise_delay_multiplier` (instance *i* takes *i* times that), `creation_delay_sec`
//! (loading takes that long).

use std::{path::Path, thread, time::Duration};

use super::{
    Backend, BackendError, Batch, Executor, LoadSpec,
    parameters::{duration, parameter},
};
use crate::{device::Device, model_config::EngineSignature};

/// The `identity` backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn default_filename(&self) -> &'static str {
        ""
    }

    fn ready(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn inspect(&self, _file: &Path) -> Result<Option<EngineSignature>, BackendError> {
        Ok(None)
    }

    fn load(
        &self,
        spec: &LoadSpec<'_>,
        _device: Device,
    ) -> Result<Box<dyn Executor>, BackendError> {
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
        Ok(Box::new(Copier { delay }))
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
