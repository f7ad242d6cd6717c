//! From a model's instance groups to the planner's wishes, and from its answer back to groups that
//! say where instances run.

use std::sync::Arc;

use super::plan::{Seat, Target, Why, Wish};
use crate::{
    device::Device,
    model_config::{InstanceGroup, InstanceKind, ModelConfig},
    proto::inference::{self as pb, model_instance_group::Kind},
};

/// One wish for every instance, in the order of the groups; within one, round by round over its
/// devices, as Triton creates them. `byte_size` is what one takes on a GPU.
pub fn wishes(
    config: &ModelConfig,
    version: u64,
    byte_size: u64,
    engine_fault: Option<&str>,
) -> Vec<Wish> {
    let model: Arc<str> = format!("{}/{version}", config.name).into();
    let engine_fault: Option<Arc<str>> = engine_fault.map(Arc::from);
    let of_group = |group: &InstanceGroup| {
        let (targets, fallback) = (targets(group), group.fallback);
        let (model, engine_fault) = (Arc::clone(&model), engine_fault.clone());
        (0..group.count)
            .flat_map(move |_| targets.clone())
            .map(move |target| Wish {
                model: Arc::clone(&model),
                target,
                fallback,
                byte_size,
                engine_fault: engine_fault.clone(),
            })
    };
    config.instance_groups.iter().flat_map(of_group).collect()
}

/// The instances of the groups, in the order of [`wishes`]: their names and devices.
pub fn instances(
    groups: &[InstanceGroup],
) -> impl Iterator<Item = (String, &InstanceGroup, Device)> {
    groups.iter().flat_map(|group| {
        let devices = targets(group).into_iter().map(|target| match target {
            Target::Gpu(ordinal) => Device::Cuda(ordinal),
            Target::Host | Target::AnyGpu => Device::Host,
        });
        let devices: Vec<_> = devices.collect();
        (0..group.count).flat_map(move |round| {
            let name = format!("{}_{round}", group.name);
            let named = move |device| (name.clone(), group, device);
            devices.clone().into_iter().map(named)
        })
    })
}

/// Writes into the configuration where the instances run. `seats` are in the order of [`wishes`].
/// Groups whose instances are all where they were wanted stay as they are.
pub(super) fn settle(config: &mut ModelConfig, seats: &[Seat]) {
    let mut seats = seats.iter();
    let (mut typed, mut shown) = (Vec::new(), Vec::new());
    let groups = std::mem::take(&mut config.instance_groups);
    for (group, proto) in groups
        .into_iter()
        .zip(std::mem::take(&mut config.proto.instance_group))
    {
        let count = group.count.saturating_mul(targets(&group).len());
        let taken: Vec<_> = seats.by_ref().take(count).collect();
        if taken.iter().all(|seat| seat.why == Why::Configured) {
            typed.push(group);
            shown.push(proto);
            continue;
        }
        for part in parts(&group, &taken) {
            shown.push(shown_as(&proto, &part));
            typed.push(part);
        }
    }
    config.instance_groups = typed;
    config.proto.instance_group = shown;
}

/// One group for each number of instances that a GPU may have, and one for the CPU.
fn parts(group: &InstanceGroup, seats: &[&Seat]) -> Vec<InstanceGroup> {
    let mut gpus: Vec<(u32, usize)> = Vec::new();
    let mut on_host = 0;
    for seat in seats {
        match seat.device {
            Device::Host => on_host += 1,
            Device::Cuda(ordinal) => match gpus.iter_mut().find(|(gpu, _)| *gpu == ordinal) {
                Some((_, count)) => *count += 1,
                None => gpus.push((ordinal, 1)),
            },
        }
    }
    gpus.sort_by_key(|&(ordinal, count)| (std::cmp::Reverse(count), ordinal));
    let mut parts: Vec<InstanceGroup> = Vec::new();
    for (ordinal, count) in gpus {
        match parts.last_mut() {
            Some(part) if part.count == count => part.gpus.push(ordinal),
            _ => parts.push(InstanceGroup {
                kind: InstanceKind::Gpu,
                gpus: vec![ordinal],
                count,
                ..group.clone()
            }),
        }
    }
    if on_host > 0 {
        parts.push(InstanceGroup {
            kind: InstanceKind::Cpu,
            gpus: Vec::new(),
            count: on_host,
            ..group.clone()
        });
    }
    parts
}

fn shown_as(proto: &pb::ModelInstanceGroup, part: &InstanceGroup) -> pb::ModelInstanceGroup {
    let kind = match part.kind {
        InstanceKind::Cpu => Kind::Cpu,
        InstanceKind::Gpu => Kind::Gpu,
        InstanceKind::Model => Kind::Model,
    };
    pb::ModelInstanceGroup {
        kind: kind.into(),
        // Both come from values of the other type.
        gpus: part
            .gpus
            .iter()
            .filter_map(|&gpu| gpu.try_into().ok())
            .collect(),
        count: part.count.try_into().unwrap_or(i32::MAX),
        ..proto.clone()
    }
}

fn targets(group: &InstanceGroup) -> Vec<Target> {
    match group.kind {
        InstanceKind::Cpu | InstanceKind::Model => vec![Target::Host],
        InstanceKind::Gpu if group.gpus.is_empty() => vec![Target::AnyGpu],
        InstanceKind::Gpu => group.gpus.iter().map(|&gpu| Target::Gpu(gpu)).collect(),
    }
}
