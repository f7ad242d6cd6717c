//! Instance groups: which devices they ask for, by Triton's rules. Whether those have room is not
//! known here.

use super::{
    AutoPlacement, ConfigError, Environment, Fallback, InstanceGroup, InstanceKind,
    suggest::{did_you_mean, shown},
};
use crate::proto::inference::{self as pb, ModelInstanceGroup, model_instance_group::Kind};

/// The parameter that says where instances go whose GPU cannot take them.
pub const FALLBACK_PARAMETER: &str = "device_fallback";

/// Each instance is a thread and a copy of what the engine needs; more are a mistake.
const MAX_INSTANCES: usize = 1024;

/// Fills in groups, names, kinds, counts and GPUs as Triton does, checks them, and gives their typed
/// form.
pub(super) fn instance_groups(
    config: &mut pb::ModelConfig,
    environment: &Environment,
) -> Result<Vec<InstanceGroup>, ConfigError> {
    if config.instance_group.is_empty() {
        config.instance_group.push(ModelInstanceGroup {
            // Only groups that a configuration writes are numbered.
            name: config.name.clone(),
            ..Default::default()
        });
    }
    let rules = Rules {
        environment,
        fallback: fallback(config)?,
        pairs_on_cpu: config.backend == "onnxruntime",
        has_profiles: config.backend == "tensorrt",
    };
    let (model, mut groups) = (config.name.clone(), Vec::new());
    for (index, group) in config.instance_group.iter_mut().enumerate() {
        if group.name.is_empty() {
            group.name = format!("{model}_{index}");
        }
        let settled = rules.settle(group).map_err(|fault| {
            ConfigError::Invalid(format!(
                "instance group {} of model {model} {fault}",
                group.name
            ))
        })?;
        groups.push(settled);
    }
    check_count(&model, &groups)?;
    Ok(groups)
}

/// What holds for all groups of a model.
struct Rules<'a> {
    environment: &'a Environment,
    /// What the configuration says, if it does.
    fallback: Option<Fallback>,
    /// Whether two instances are the default on the CPU.
    pairs_on_cpu: bool,
    /// Whether engines have optimization profiles.
    has_profiles: bool,
}

impl Rules<'_> {
    fn settle(&self, group: &mut ModelInstanceGroup) -> Result<InstanceGroup, String> {
        let wrote =
            Kind::try_from(group.kind).map_err(|_| format!("has unknown 'kind' {}", group.kind))?;
        let kind = self.kind(wrote, group);
        let default = match wrote {
            Kind::Auto => Fallback::Any,
            _ => Fallback::Engine,
        };
        let fallback = self.fallback.unwrap_or(default);
        if group.count < 1 {
            let pair = kind == InstanceKind::Cpu && self.pairs_on_cpu;
            group.count = if pair { 2 } else { 1 };
        }
        self.check(group, kind, fallback)?;
        Ok(InstanceGroup {
            name: group.name.clone(),
            kind,
            gpus: group
                .gpus
                .iter()
                .filter_map(|&gpu| gpu.try_into().ok())
                .collect(),
            count: usize::try_from(group.count).unwrap_or(1),
            passive: group.passive,
            host_policy: Some(group.host_policy.clone()).filter(|name| !name.is_empty()),
            fallback,
        })
    }

    /// The kind, written into the group but where the server is to choose the GPUs.
    fn kind(&self, wrote: Kind, group: &mut ModelInstanceGroup) -> InstanceKind {
        let usable = &self.environment.gpus;
        let everywhere = || usable.iter().filter_map(|&gpu| gpu.try_into().ok());
        match wrote {
            Kind::Cpu => InstanceKind::Cpu,
            Kind::Model => InstanceKind::Model,
            Kind::Auto if usable.is_empty() || !self.environment.auto_on_gpu => {
                // Triton keeps the list, and then refuses it for being there.
                group.gpus.clear();
                group.set_kind(Kind::Cpu);
                InstanceKind::Cpu
            }
            Kind::Auto | Kind::Gpu => {
                let chosen =
                    wrote == Kind::Auto && self.environment.auto_placement == AutoPlacement::Pack;
                if group.gpus.is_empty() && !chosen {
                    group.gpus = everywhere().collect();
                }
                if !group.gpus.is_empty() {
                    group.set_kind(Kind::Gpu);
                }
                InstanceKind::Gpu
            }
        }
    }

    fn check(
        &self,
        group: &ModelInstanceGroup,
        kind: InstanceKind,
        fallback: Fallback,
    ) -> Result<(), String> {
        if !group.profile.is_empty() && !self.has_profiles {
            return Err(
                "specifies profile field which is only supported for TensorRT models".to_owned(),
            );
        }
        if !group.secondary_devices.is_empty() {
            return Err(
                "specifies 'secondary_devices', which are not supported by this version of Despina"
                    .to_owned(),
            );
        }
        match kind {
            InstanceKind::Gpu => self.check_gpus(group, fallback),
            _ if group.gpus.is_empty() => Ok(()),
            _ => {
                let name = group.kind().as_str_name();
                Err(format!("has kind {name} but specifies one or more GPUs"))
            }
        }
    }

    fn check_gpus(&self, group: &ModelInstanceGroup, fallback: Fallback) -> Result<(), String> {
        let usable = &self.environment.gpus;
        if let Some(gpu) = group.gpus.iter().find(|&&gpu| gpu < 0) {
            return Err(format!("specifies invalid or unsupported gpu id {gpu}"));
        }
        if matches!(fallback, Fallback::Gpu | Fallback::Any) {
            return Ok(());
        }
        if usable.is_empty() {
            return Err("has kind KIND_GPU but no GPUs are available".to_owned());
        }
        let missing = |gpu: &&i32| !u32::try_from(**gpu).is_ok_and(|gpu| usable.contains(&gpu));
        let Some(gpu) = group.gpus.iter().find(missing) else {
            return Ok(());
        };
        let usable: Vec<_> = usable.iter().map(u32::to_string).collect();
        Err(format!(
            "specifies invalid or unsupported gpu id {gpu}. GPUs with at least the minimum required \
             CUDA compute compatibility of {:.6} are: {}",
            self.environment.min_compute_capability,
            usable.join(", ")
        ))
    }
}

fn fallback(config: &pb::ModelConfig) -> Result<Option<Fallback>, ConfigError> {
    const VALUES: [(&str, Fallback); 4] = [
        ("none", Fallback::None),
        ("engine", Fallback::Engine),
        ("gpu", Fallback::Gpu),
        ("any", Fallback::Any),
    ];
    let Some(parameter) = config.parameters.get(FALLBACK_PARAMETER) else {
        return Ok(None);
    };
    let value = parameter.string_value.trim();
    let known = VALUES.iter().find(|(name, _)| *name == value);
    known.map(|(_, fallback)| Some(*fallback)).ok_or_else(|| {
        let names = VALUES.iter().map(|(name, _)| *name);
        ConfigError::Invalid(format!(
            "parameter '{FALLBACK_PARAMETER}' of model {} must be one of none, engine, gpu, any, \
             not '{}'{}",
            config.name,
            shown(value),
            did_you_mean(value, names)
        ))
    })
}

fn check_count(model: &str, groups: &[InstanceGroup]) -> Result<(), ConfigError> {
    let instances = |group: &InstanceGroup| group.count.saturating_mul(group.gpus.len().max(1));
    let count = groups.iter().map(instances).fold(0, usize::saturating_add);
    if count > MAX_INSTANCES {
        return Err(ConfigError::Invalid(format!(
            "model {model} asks for {count} instances, the limit is {MAX_INSTANCES}"
        )));
    }
    Ok(())
}
