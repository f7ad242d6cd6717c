//! The last step: fills in the defaults that Triton shows, checks every rule, and gives the typed
//! configuration. Nothing that passed needs to be checked again.

use super::{
    ConfigError, Environment, ModelConfig, VersionPolicy, batching, complete,
    filename::{FileName, escapes},
    place, tensors, warmup,
};
use crate::proto::inference::{
    self as pb,
    model_config::SchedulingChoice,
    model_optimization_policy::PinnedMemoryBuffer,
    model_version_policy::{Latest, PolicyChoice},
};

pub(super) fn normalise(
    mut proto: pb::ModelConfig,
    environment: &Environment,
) -> Result<ModelConfig, ConfigError> {
    check_identity(&proto)?;
    check_supported(&proto)?;
    check_cache(&proto)?;
    check_filenames(&proto)?;
    let version_policy = version_policy(&proto)?;
    let max_batch_size = usize::try_from(proto.max_batch_size).map_err(|_| {
        ConfigError::Invalid(format!(
            "'max_batch_size' must be non-negative value for {}, not {}",
            proto.name, proto.max_batch_size
        ))
    })?;
    fill_version_policy(&mut proto);
    fill_optimization(&mut proto);
    batching::fill(&mut proto);
    let instance_groups = place::instance_groups(&mut proto, environment)?;
    Ok(ModelConfig {
        name: proto.name.clone(),
        backend: proto.backend.clone(),
        platform: proto.platform.clone(),
        version_policy,
        max_batch_size,
        inputs: tensors::inputs(&proto)?,
        outputs: tensors::outputs(&proto)?,
        scheduling: batching::scheduling(&proto)?,
        instance_groups,
        parameters: proto
            .parameters
            .iter()
            .map(|(key, parameter)| (key.clone(), parameter.string_value.clone()))
            .collect(),
        warmup: warmup::samples(&proto)?,
        decoupled: is_decoupled(&proto),
        proto,
    })
}

/// Which of the versions present to serve; the latest unless the configuration says otherwise.
pub(super) fn version_policy(proto: &pb::ModelConfig) -> Result<VersionPolicy, ConfigError> {
    let choice = proto
        .version_policy
        .as_ref()
        .and_then(|policy| policy.policy_choice.as_ref());
    match choice {
        None => Ok(VersionPolicy::Latest(1)),
        Some(PolicyChoice::Latest(latest)) => {
            let count = usize::try_from(latest.num_versions).unwrap_or(usize::MAX);
            Ok(VersionPolicy::Latest(count.max(1)))
        }
        Some(PolicyChoice::All(_)) => Ok(VersionPolicy::All),
        Some(PolicyChoice::Specific(specific)) => {
            let versions = specific.versions.iter();
            versions
                .map(|&version| match u64::try_from(version) {
                    Ok(version) if version > 0 => Ok(version),
                    _ => Err(ConfigError::Invalid(format!(
                        "'version_policy.specific.versions' must be positive, not {version}, for {}",
                        proto.name
                    ))),
                })
                .collect::<Result<_, _>>()
                .map(VersionPolicy::Specific)
        }
    }
}

/// Files that a configuration names must lie in the model's folder.
pub(super) fn check_filenames(proto: &pb::ModelConfig) -> Result<(), ConfigError> {
    let model_file = ("default_model_filename", &proto.default_model_filename);
    let labels = proto
        .output
        .iter()
        .map(|output| ("label_filename", &output.label_filename));
    for (field, name) in std::iter::once(model_file).chain(labels) {
        if !name.is_empty() && escapes(name, FileName::Below) {
            return Err(ConfigError::Invalid(format!(
                "'{field}' '{}' must be a relative path inside the model's folder for {}",
                name.escape_debug(),
                proto.name
            )));
        }
    }
    Ok(())
}

fn check_identity(proto: &pb::ModelConfig) -> Result<(), ConfigError> {
    let (name, platform, backend) = (&proto.name, &proto.platform, &proto.backend);
    let fault = if name.is_empty() {
        "model configuration must specify 'name'".to_owned()
    } else if platform == "ensemble" {
        "platform 'ensemble' is not supported by this version of Despina".to_owned()
    } else if backend.is_empty() && !is_ensemble(proto) {
        format!("unexpected platform type '{platform}' for {name}")
    } else if !complete::is_pair(platform, backend) {
        format!("unexpected 'platform' and 'backend' pair, got:{platform}, {backend}")
    } else {
        return Ok(());
    };
    Err(ConfigError::Invalid(fault))
}

/// Whether the model is a graph of others and has no backend of its own.
pub(super) fn is_ensemble(proto: &pb::ModelConfig) -> bool {
    matches!(
        proto.scheduling_choice,
        Some(SchedulingChoice::EnsembleScheduling(_))
    )
}

fn is_decoupled(proto: &pb::ModelConfig) -> bool {
    let policy = proto.model_transaction_policy.as_ref();
    policy.is_some_and(|policy| policy.decoupled)
}

/// Fields that would change what a model does are refused rather than ignored.
fn check_supported(proto: &pb::ModelConfig) -> Result<(), ConfigError> {
    let sequences = matches!(
        proto.scheduling_choice,
        Some(SchedulingChoice::SequenceBatching(_))
    );
    let agents = proto
        .model_repository_agents
        .as_ref()
        .is_some_and(|agents| !agents.agents.is_empty());
    let operations = proto
        .model_operations
        .as_ref()
        .is_some_and(|operations| !operations.op_library_filename.is_empty());
    let fields = [
        (sequences, "sequence_batching"),
        (is_ensemble(proto), "ensemble_scheduling"),
        (!proto.batch_input.is_empty(), "batch_input"),
        (!proto.batch_output.is_empty(), "batch_output"),
        (agents, "model_repository_agents"),
        (operations, "model_operations"),
    ];
    match fields.into_iter().find(|&(used, _)| used) {
        None => Ok(()),
        Some((_, field)) => Err(unsupported(field)),
    }
}

/// What a model needs is not there.
pub(super) fn unsupported(field: &str) -> ConfigError {
    ConfigError::Invalid(format!(
        "'{field}' is not supported by this version of Despina"
    ))
}

/// Triton's rule, though nothing is cached yet: such a model would be refused there.
fn check_cache(proto: &pb::ModelConfig) -> Result<(), ConfigError> {
    let cache = proto.response_cache.as_ref();
    if is_decoupled(proto) && cache.is_some_and(|cache| cache.enable) {
        return Err(ConfigError::Invalid(format!(
            "Response Cache does not currently support model {} with 'decoupled' transaction policy. \
             Please disable the response cache.",
            proto.name
        )));
    }
    Ok(())
}

fn fill_version_policy(proto: &mut pb::ModelConfig) {
    let policy = proto.version_policy.get_or_insert_default();
    let latest = policy
        .policy_choice
        .get_or_insert(PolicyChoice::Latest(Latest { num_versions: 1 }));
    if let PolicyChoice::Latest(latest) = latest {
        latest.num_versions = latest.num_versions.max(1);
    }
}

/// Triton's defaults; the server has no use for them yet.
fn fill_optimization(proto: &mut pb::ModelConfig) {
    let optimization = proto.optimization.get_or_insert_default();
    let pinned = PinnedMemoryBuffer { enable: true };
    optimization.input_pinned_memory.get_or_insert(pinned);
    optimization.output_pinned_memory.get_or_insert(pinned);
}
