//! Which execution providers a session is to have, and their options: a pure reading of
//! `optimization.execution_accelerators` and of the model's parameters, by Triton's rules.

use std::{collections::BTreeMap, path::Path};

use super::{
    BackendError,
    provider_keys::{self as keys, CUDA, Key, OPENVINO, TENSORRT},
};
use crate::{
    device::Device,
    model_config::{ModelConfig, did_you_mean},
    proto::inference::model_optimization_policy::execution_accelerators::Accelerator,
};

/// One execution provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// Which.
    pub(super) kind: ProviderKind,
    /// Its options, by its own names.
    pub(super) options: BTreeMap<String, String>,
}

/// The execution providers besides the CPU's, which is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderKind {
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs, with engines that are built from parts of the model.
    TensorRt,
    /// Intel's engine.
    OpenVino,
}

impl ProviderKind {
    /// What a configuration asks for, for messages.
    pub(super) fn asked_for(self) -> &'static str {
        match self {
            Self::Cuda => "a GPU",
            Self::TensorRt => "the execution accelerator 'tensorrt'",
            Self::OpenVino => "the execution accelerator 'openvino'",
        }
    }

    fn keys(self) -> &'static [Key] {
        match self {
            Self::Cuda => CUDA,
            Self::TensorRt => TENSORRT,
            Self::OpenVino => OPENVINO,
        }
    }
}

impl Provider {
    /// The CUDA provider with nothing but its device.
    pub(super) fn plain(device: Device) -> Self {
        Self::on(ProviderKind::Cuda, device)
    }

    fn on(kind: ProviderKind, device: Device) -> Self {
        let options = match device {
            Device::Host => BTreeMap::new(),
            Device::Cuda(ordinal) => {
                BTreeMap::from([("device_id".to_owned(), ordinal.to_string())])
            }
        };
        Self { kind, options }
    }
}

/// The providers for a session on that device, in the order in which they choose their parts of the
/// model. On a GPU: its accelerators, and CUDA, if it is none of them. Paths are relative to
/// `version_folder`.
///
/// # Errors
/// [`BackendError::InvalidModel`] with the key, its value, and what was expected.
pub(super) fn read(
    config: &ModelConfig,
    device: Device,
    version_folder: &Path,
) -> Result<Vec<Provider>, BackendError> {
    let reader = Reader {
        config,
        device,
        version_folder,
    };
    let accelerators = config
        .proto
        .optimization
        .as_ref()
        .and_then(|optimization| optimization.execution_accelerators.as_ref());
    let (listed, known): (_, &[(&str, ProviderKind)]) = match device {
        Device::Host => (
            accelerators.map(|all| &all.cpu_execution_accelerator),
            &[("openvino", ProviderKind::OpenVino)],
        ),
        Device::Cuda(_) => (
            accelerators.map(|all| &all.gpu_execution_accelerator),
            &[
                ("tensorrt", ProviderKind::TensorRt),
                ("cuda", ProviderKind::Cuda),
            ],
        ),
    };
    let mut providers = listed
        .into_iter()
        .flatten()
        .map(|accelerator| reader.accelerator(accelerator, known))
        .collect::<Result<Vec<_>, _>>()?;
    let is_cuda = |provider: &Provider| provider.kind == ProviderKind::Cuda;
    if device != Device::Host && !providers.iter().any(is_cuda) {
        providers.push(reader.cuda()?);
    }
    Ok(providers)
}

/// The names of the model's parameters that concern the CUDA provider.
pub(super) fn parameters() -> Vec<&'static str> {
    CUDA.iter().map(|key| key.name).collect()
}

struct Reader<'a> {
    config: &'a ModelConfig,
    device: Device,
    version_folder: &'a Path,
}

impl Reader<'_> {
    fn accelerator(
        &self,
        accelerator: &Accelerator,
        known: &[(&str, ProviderKind)],
    ) -> Result<Provider, BackendError> {
        let name = accelerator.name.as_str();
        let kind = known.iter().find(|(known, _)| *known == name);
        let Some(&(_, kind)) = kind else {
            let names = known.iter().map(|(known, _)| *known);
            return Err(self.fault(&format!(
                "unknown Execution Accelerator '{}' is requested{}",
                name.escape_debug(),
                did_you_mean(name, names)
            )));
        };
        let mut provider = match kind {
            ProviderKind::Cuda => self.cuda()?,
            _ => Provider::on(kind, self.device),
        };
        // Sorted, so that of several faults the same one is told each time.
        let parameters: BTreeMap<_, _> = accelerator.parameters.iter().collect();
        for (key, value) in parameters {
            keys::find(kind.keys(), key)
                .and_then(|key| self.set(&mut provider, key, value))
                .map_err(|fault| self.fault(&format!("execution accelerator '{name}': {fault}")))?;
        }
        Ok(provider)
    }

    /// The CUDA provider as the model's parameters want it.
    fn cuda(&self) -> Result<Provider, BackendError> {
        let mut provider = Provider::plain(self.device);
        for key in CUDA {
            if let Some(value) = self.config.parameters.get(key.name) {
                self.set(&mut provider, key, value)
                    .map_err(|fault| self.fault(&fault))?;
            }
        }
        Ok(provider)
    }

    fn set(&self, provider: &mut Provider, key: &Key, value: &str) -> Result<(), String> {
        let option = key.option(value, self.version_folder)?;
        provider.options.extend(option);
        Ok(())
    }

    fn fault(&self, fault: &str) -> BackendError {
        BackendError::InvalidModel(format!("model '{}': {fault}", self.config.name))
    }
}
