//! Schedulers: which kinds there are yet, and the rules of the dynamic batcher.

use std::{collections::BTreeMap, time::Duration};

use super::{ConfigError, DynamicBatching, QueuePolicy, Scheduling, TimeoutAction};
use crate::proto::inference::{
    self as pb, model_config::SchedulingChoice, model_queue_policy::TimeoutAction as ProtoAction,
};

/// Each level is a queue of its own; more are a mistake.
const MAX_PRIORITY_LEVELS: u64 = 1024;

/// Fills in the preferred batch size: the largest, unless there are no batches.
pub(super) fn fill(config: &mut pb::ModelConfig) {
    let max_batch_size = config.max_batch_size;
    if let Some(SchedulingChoice::DynamicBatching(batching)) = &mut config.scheduling_choice
        && batching.preferred_batch_size.is_empty()
        && max_batch_size > 0
    {
        batching.preferred_batch_size.push(max_batch_size);
    }
}

/// Checks the scheduler and gives its typed form. Expects [`fill`] to have run.
pub(super) fn scheduling(config: &pb::ModelConfig) -> Result<Scheduling, ConfigError> {
    match &config.scheduling_choice {
        None => Ok(Scheduling::Default),
        Some(SchedulingChoice::DynamicBatching(batching)) => dynamic(config, batching)
            .map(Scheduling::Dynamic)
            .map_err(|fault| ConfigError::Invalid(format!("{fault} for {}", config.name))),
        // Refused before anything else is looked at.
        Some(SchedulingChoice::SequenceBatching(_) | SchedulingChoice::EnsembleScheduling(_)) => {
            Err(ConfigError::Invalid(format!(
                "the scheduler of {} is not supported by this version of Despina",
                config.name
            )))
        }
    }
}

fn dynamic(
    config: &pb::ModelConfig,
    batching: &pb::ModelDynamicBatching,
) -> Result<DynamicBatching, String> {
    let preferred_batch_sizes = preferred(config, batching)?;
    check_priorities(batching)?;
    check_ordering(batching)?;
    let policy_by_level: Result<BTreeMap<_, _>, String> = batching
        .priority_queue_policy
        .iter()
        .map(|(&level, policy)| Ok((level, queue_policy(policy)?)))
        .collect();
    Ok(DynamicBatching {
        preferred_batch_sizes,
        max_queue_delay: Duration::from_micros(batching.max_queue_delay_microseconds),
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priority_levels,
        default_priority_level: batching.default_priority_level,
        default_queue_policy: batching
            .default_queue_policy
            .as_ref()
            .map(queue_policy)
            .transpose()?,
        priority_queue_policy: policy_by_level?,
    })
}

/// Ascending, each once, never empty.
fn preferred(
    config: &pb::ModelConfig,
    batching: &pb::ModelDynamicBatching,
) -> Result<Vec<usize>, String> {
    let mut sizes = Vec::new();
    for &size in &batching.preferred_batch_size {
        if size > config.max_batch_size {
            return Err(format!(
                "dynamic batching preferred size must be <= max batch size, {size} is more than {},",
                config.max_batch_size
            ));
        }
        match usize::try_from(size) {
            Ok(size) if size > 0 => sizes.push(size),
            _ => {
                return Err(format!(
                    "dynamic batching preferred size must be positive, not {size},"
                ));
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
    }
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

fn check_priorities(batching: &pb::ModelDynamicBatching) -> Result<(), String> {
    let levels = batching.priority_levels;
    if levels == 0 {
        return Ok(());
    }
    if levels > MAX_PRIORITY_LEVELS {
        return Err(format!(
            "priority levels must be <= {MAX_PRIORITY_LEVELS}, not {levels},"
        ));
    }
    let default = batching.default_priority_level;
    if default == 0 || default > levels {
        return Err(format!(
            "default priority level must be in range [1, {levels}], not {default},"
        ));
    }
    let mut named = batching.priority_queue_policy.keys();
    match named.find(|&&level| level == 0 || level > levels) {
        None => Ok(()),
        Some(level) => Err(format!(
            "priority queue policy must have priority level in range [1, {levels}], not {level},"
        )),
    }
}

/// Order cannot be kept where requests may overtake each other.
fn check_ordering(batching: &pb::ModelDynamicBatching) -> Result<(), String> {
    if !batching.preserve_ordering {
        return Ok(());
    }
    if batching.priority_levels > 1 {
        return Err(
            "Only one priority level is allowed when 'preserve_ordering' is true".to_owned(),
        );
    }
    let delays = |policy: &pb::ModelQueuePolicy| {
        policy.default_timeout_microseconds != 0 && policy.timeout_action() == ProtoAction::Delay
    };
    let mut policies = batching
        .default_queue_policy
        .iter()
        .chain(batching.priority_queue_policy.values());
    if policies.any(delays) {
        return Err(
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true"
                .to_owned(),
        );
    }
    Ok(())
}

fn queue_policy(policy: &pb::ModelQueuePolicy) -> Result<QueuePolicy, String> {
    let timeout_action = match ProtoAction::try_from(policy.timeout_action) {
        Ok(ProtoAction::Reject) => TimeoutAction::Reject,
        Ok(ProtoAction::Delay) => TimeoutAction::Delay,
        Err(_) => {
            return Err(format!(
                "queue policy has unknown 'timeout_action' {}",
                policy.timeout_action
            ));
        }
    };
    let timeout = policy.default_timeout_microseconds;
    let size = policy.max_queue_size;
    Ok(QueuePolicy {
        timeout_action,
        default_timeout: (timeout > 0).then(|| Duration::from_micros(timeout)),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: (size > 0).then(|| usize::try_from(size).unwrap_or(usize::MAX)),
    })
}
