//! Where a configuration may point: devices for instances, and files inside the model's folder.

use std::path::{Component, Path};

use super::{ConfigError, Environment, InstanceGroup, InstanceKind};
use crate::proto::inference::{self as pb, model_instance_group::Kind};

/// Each instance is a thread and a copy of what the engine needs; more are a mistake.
const MAX_INSTANCES: i32 = 1024;

/// What a file name may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// A name without folders.
    Bare,
    /// A path below the folder that it is relative to.
    Below,
}

/// Whether `name` is a path to something below the folder that it is relative to.
pub fn stays_inside(name: &str) -> bool {
    !escapes(name, FileName::Below)
}

/// Whether `name` could name anything outside the folder that it is relative to.
pub(super) fn escapes(name: &str, allowed: FileName) -> bool {
    let components: Vec<_> = Path::new(name).components().collect();
    let inside = components
        .iter()
        .all(|component| matches!(component, Component::Normal(_)));
    let depth_allowed = match allowed {
        FileName::Bare => components.len() == 1 && !name.contains('/'),
        FileName::Below => !components.is_empty(),
    };
    !inside || !depth_allowed || name.contains(['\0', '\\'])
}

/// Fills in groups, names, kinds and counts as Triton does.
pub(super) fn fill(config: &mut pb::ModelConfig, environment: &Environment) {
    if config.instance_group.is_empty() {
        config.instance_group.push(pb::ModelInstanceGroup {
            // Only groups that a configuration writes are numbered.
            name: config.name.clone(),
            ..Default::default()
        });
    }
    for (index, group) in config.instance_group.iter_mut().enumerate() {
        if group.name.is_empty() {
            group.name = format!("{}_{index}", config.name);
        }
        if group.kind == i32::from(Kind::Auto) {
            let missing = |gpu: &i32| !has_gpu(environment, *gpu);
            let on_cpu = environment.gpus.is_empty() || group.gpus.iter().any(missing);
            group.set_kind(if on_cpu { Kind::Cpu } else { Kind::Gpu });
        }
        if group.count < 1 {
            let pair = group.kind() == Kind::Cpu && config.backend == "onnxruntime";
            group.count = if pair { 2 } else { 1 };
        }
        if group.kind() == Kind::Gpu && group.gpus.is_empty() {
            let usable = environment.gpus.iter();
            group.gpus = usable.filter_map(|&gpu| i32::try_from(gpu).ok()).collect();
        }
    }
}

/// Checks the groups and gives their typed form. Expects [`fill`] to have run.
pub(super) fn instance_groups(
    config: &pb::ModelConfig,
    environment: &Environment,
) -> Result<Vec<InstanceGroup>, ConfigError> {
    let count = config
        .instance_group
        .iter()
        .fold(0_i32, |count, group| count.saturating_add(group.count));
    if count > MAX_INSTANCES {
        return Err(ConfigError::Invalid(format!(
            "model {} asks for {count} instances, the limit is {MAX_INSTANCES}",
            config.name
        )));
    }
    let groups = config.instance_group.iter();
    groups
        .map(|group| {
            one_group(group, environment).map_err(|fault| {
                ConfigError::Invalid(format!(
                    "instance group {} of model {} {fault}",
                    group.name, config.name
                ))
            })
        })
        .collect()
}

fn one_group(
    group: &pb::ModelInstanceGroup,
    environment: &Environment,
) -> Result<InstanceGroup, String> {
    let kind = match Kind::try_from(group.kind) {
        Ok(Kind::Model) => InstanceKind::Model,
        Ok(Kind::Cpu | Kind::Auto) => InstanceKind::Cpu,
        Ok(Kind::Gpu) => return Err(no_gpu(group, environment)),
        Err(_) => return Err(format!("has unknown 'kind' {}", group.kind)),
    };
    if !group.gpus.is_empty() {
        let name = group.kind().as_str_name();
        return Err(format!("has kind {name} but specifies one or more GPUs"));
    }
    if !group.profile.is_empty() {
        return Err(
            "specifies profile field which is only supported for TensorRT models".to_owned(),
        );
    }
    Ok(InstanceGroup {
        name: group.name.clone(),
        kind,
        count: usize::try_from(group.count).unwrap_or(1),
        passive: group.passive,
    })
}

fn no_gpu(group: &pb::ModelInstanceGroup, environment: &Environment) -> String {
    if environment.gpus.is_empty() {
        return "has kind KIND_GPU but no GPUs are available".to_owned();
    }
    let missing = |gpu: &&i32| !has_gpu(environment, **gpu);
    match group.gpus.iter().find(missing) {
        Some(gpu) => {
            let usable: Vec<_> = environment.gpus.iter().map(u32::to_string).collect();
            format!(
                "specifies invalid or unsupported gpu id {gpu}. Usable GPUs are: {}",
                usable.join(", ")
            )
        }
        None => "has kind KIND_GPU, which is not supported by this version of Despina".to_owned(),
    }
}

fn has_gpu(environment: &Environment, gpu: i32) -> bool {
    u32::try_from(gpu).is_ok_and(|gpu| environment.gpus.contains(&gpu))
}
