//! What a model's configuration says of its engine: profiles, and how much of its weights stays on the
//! device. Pure.

use super::runtime::StreamingBudget;
use crate::{
    backend::BackendError, model_config::ModelConfig, proto::inference::ModelInstanceGroup,
};

/// Bytes of weights that stay on the device, or `auto`; for plans that were built for weight streaming.
const STREAMING: &str = "weight_streaming_budget";

/// The parameter's value, if it is set.
///
/// # Errors
/// [`BackendError::InvalidModel`] with the value and what was expected.
pub(super) fn streaming_budget(
    config: &ModelConfig,
) -> Result<Option<StreamingBudget>, BackendError> {
    let Some(text) = config.parameters.get(STREAMING) else {
        return Ok(None);
    };
    let budget = match text.trim() {
        "auto" => Some(StreamingBudget::Automatic),
        number => number
            .parse()
            .ok()
            .filter(|bytes| *bytes >= 0)
            .map(StreamingBudget::Bytes),
    };
    budget.map(Some).ok_or_else(|| {
        BackendError::InvalidModel(format!(
            "parameter '{STREAMING}' of model '{}' has value '{}', expected bytes or 'auto'",
            config.name,
            text.escape_debug()
        ))
    })
}

/// The profiles that an instance uses, of `count`: those that its group lists, or all.
///
/// # Errors
/// [`BackendError::InvalidModel`] if the engine has no such profile.
pub(super) fn profiles(
    config: &ModelConfig,
    instance: &str,
    count: usize,
) -> Result<Vec<usize>, BackendError> {
    let groups = &config.proto.instance_group;
    let listed = groups
        .iter()
        .find(|group| is_of(instance, group))
        .map(|group| &group.profile);
    let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
        return Ok((0..count).collect());
    };
    let known = |text: &String| {
        let profile = text.trim().parse().ok();
        profile.filter(|profile| *profile < count).ok_or_else(|| {
            BackendError::InvalidModel(format!(
                "instance group of '{instance}' asks for optimization profile '{}', the engine has {count}, \
                 counted from 0",
                text.escape_debug()
            ))
        })
    };
    listed.iter().map(known).collect()
}

/// Instances are called after their group, and numbered.
fn is_of(instance: &str, group: &ModelInstanceGroup) -> bool {
    let number = instance
        .strip_prefix(&group.name)
        .and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_config::{Environment, from_pbtxt};

    fn config(rest: &str) -> ModelConfig {
        let text = format!(
            "name: 'm' backend: 'tensorrt' platform: 'tensorrt_plan'
             input {{ name: 'x' data_type: TYPE_FP32 dims: 1 }}
             output {{ name: 'y' data_type: TYPE_FP32 dims: 1 }} {rest}"
        );
        let proto = from_pbtxt(&text, "config.pbtxt").unwrap();
        ModelConfig::from_proto(proto, &Environment::default()).unwrap()
    }

    #[test]
    fn a_group_lists_its_profiles_or_has_all() {
        let config = config(
            "instance_group [ { name: 'm_1' kind: KIND_CPU profile: [ '2', '0' ] },
             { name: 'm' kind: KIND_CPU }, { name: 'odd' kind: KIND_CPU profile: '3' },
             { name: 'text' kind: KIND_CPU profile: 'first' } ]",
        );
        let of = |instance| profiles(&config, instance, 3);
        assert_eq!(of("m_1_0").unwrap(), [2, 0]);
        assert_eq!(of("m_1").unwrap(), [0, 1, 2]);
        let message = of("odd_0").unwrap_err().to_string();
        assert!(
            message.contains("optimization profile '3', the engine has 3"),
            "{message}"
        );
        assert!(of("text_7").is_err());
    }

    #[test]
    fn a_budget_is_bytes_or_automatic() {
        let of = |value: &str| {
            let parameter =
                format!("parameters {{ key: '{STREAMING}' value {{ string_value: '{value}' }} }}");
            streaming_budget(&config(&parameter)).map_err(|error| error.to_string())
        };
        assert_eq!(streaming_budget(&config("")).unwrap(), None);
        assert_eq!(of("auto"), Ok(Some(StreamingBudget::Automatic)));
        assert_eq!(of(" 4096 "), Ok(Some(StreamingBudget::Bytes(4096))));
        assert_eq!(
            of("-1").unwrap_err(),
            "parameter 'weight_streaming_budget' of model 'm' has value '-1', expected bytes or 'auto'"
        );
        assert!(of("50%").is_err());
    }
}
