//! From a model's configuration to a recipe: precision and bounds from its parameters, profiles from its batch
//! sizes. Pure.

use std::{collections::BTreeSet, str::FromStr};

use super::{
    recipe::{Precision, Recipe},
    shapes::BuildProfile,
};
use crate::{
    backend::{BackendError, tensorrt::profile::Range},
    model_config::{InputSpec, ModelConfig, Scheduling},
    tensor::Shape,
};

/// What TensorRT may compute with.
const PRECISION: &str = "engine_precision";
/// Shapes of inputs that vary in more than their rows, as [`BuildProfile`], without rows.
const SHAPES: &str = "engine_shapes";
/// The batch sizes to optimise for, if not the preferred ones.
const BUCKETS: &str = "engine_batch_buckets";
/// Bytes of the device's memory.
const WORKSPACE: &str = "engine_workspace_byte_limit";
/// From 0 to 5.
const LEVEL: &str = "engine_optimization_level";
/// Whether later versions of TensorRT shall run the plan.
const VERSION_COMPATIBLE: &str = "engine_version_compatible";
/// Which GPUs it shall run on.
const HARDWARE: &str = "engine_hardware_compatibility";
/// How far outputs may differ from ONNX Runtime's, or `none`.
const TOLERANCE: &str = "engine_tolerance";
/// What only plans that were built for it have.
const STREAMING: &str = "weight_streaming_budget";

/// Each profile takes time to build, and memory.
const PROFILE_LIMIT: usize = 8;

/// The recipe for a model.
///
/// # Errors
/// [`BackendError::InvalidModel`] for a parameter that cannot be read, or an input whose shapes nothing tells.
pub fn recipe(config: &ModelConfig) -> Result<Recipe, BackendError> {
    Ok(Recipe {
        precision: parameter(config, PRECISION)?.unwrap_or_default(),
        hardware: parameter(config, HARDWARE)?.unwrap_or_default(),
        version_compatible: parameter(config, VERSION_COMPATIBLE)?.unwrap_or(false),
        weight_streaming: config.parameters.contains_key(STREAMING),
        optimization_level: parameter(config, LEVEL)?,
        workspace_byte_limit: parameter(config, WORKSPACE)?,
        profiles: profiles(config)?,
    })
}

/// How far an engine's outputs may differ from ONNX Runtime's: what the model says, or what is usual for the
/// precision. `None` if they are not compared.
///
/// # Errors
/// [`BackendError::InvalidModel`] for what is no fraction.
pub(super) fn tolerance(
    config: &ModelConfig,
    precision: Precision,
) -> Result<Option<f64>, BackendError> {
    let Some(text) = config.parameters.get(TOLERANCE) else {
        return Ok(Some(precision.tolerance()));
    };
    if text.trim() == "none" {
        return Ok(None);
    }
    let number = text.trim().parse().ok();
    number
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        .map(Some)
        .ok_or_else(|| {
            unreadable(
                config,
                TOLERANCE,
                text,
                "expected a fraction such as 0.01, or 'none'",
            )
        })
}

fn profiles(config: &ModelConfig) -> Result<Vec<BuildProfile>, BackendError> {
    let said: BuildProfile = parameter(config, SHAPES)?.unwrap_or_default();
    if let Some((name, _)) = said.iter().find(|(name, _)| !has_input(config, name)) {
        return Err(BackendError::InvalidModel(format!(
            "parameter '{SHAPES}' of model '{}' names input '{name}', which the model does not have",
            config.name
        )));
    }
    let rows: Vec<Option<i64>> = match config.max_batch_size {
        0 => vec![None],
        _ => buckets(config)?.into_iter().map(Some).collect(),
    };
    let profiles = rows.into_iter().map(|rows| {
        // Of inputs that do not vary, too: the configuration does not tell what the model leaves open.
        let ranges = config.inputs.iter().map(|input| {
            let range = row_range(config, input, &said)?;
            Ok((input.name.to_string(), with_rows(&range, rows)))
        });
        ranges.collect::<Result<BuildProfile, BackendError>>()
    });
    profiles.collect()
}

fn has_input(config: &ModelConfig, name: &str) -> bool {
    config.inputs.iter().any(|input| *input.name == *name)
}

/// The batch sizes to optimise for, ascending; the last is the largest batch there is.
fn buckets(config: &ModelConfig) -> Result<Vec<i64>, BackendError> {
    let mut sizes: BTreeSet<usize> = match config.parameters.get(BUCKETS) {
        Some(text) => {
            let sizes = text.split(',').map(|size| size.trim().parse().ok());
            sizes.collect::<Option<_>>().ok_or_else(|| {
                unreadable(config, BUCKETS, text, "expected batch sizes such as 1,8,64")
            })?
        }
        None => match &config.scheduling {
            Scheduling::Dynamic(batching) => {
                batching.preferred_batch_sizes.iter().copied().collect()
            }
            Scheduling::Default => BTreeSet::new(),
        },
    };
    sizes.retain(|size| (1..config.max_batch_size).contains(size));
    sizes.insert(config.max_batch_size);
    if sizes.len() > PROFILE_LIMIT {
        return Err(BackendError::InvalidModel(format!(
            "model '{}' has {} batch sizes to optimise for, the limit is {PROFILE_LIMIT}: name fewer with \
             parameter '{BUCKETS}'",
            config.name,
            sizes.len()
        )));
    }
    Ok(sizes
        .into_iter()
        .filter_map(|size| size.try_into().ok())
        .collect())
}

/// The shapes of an input, without rows.
fn row_range(
    config: &ModelConfig,
    input: &InputSpec,
    said: &BuildProfile,
) -> Result<Range, BackendError> {
    let dims = input.reshape.as_ref().unwrap_or(&input.dims);
    if let Some(range) = said.range(&input.name) {
        return match fits(range, dims) {
            true => Ok(range.clone()),
            false => Err(BackendError::InvalidModel(format!(
                "parameter '{SHAPES}' of model '{}' has other shapes for input '{}' than its dims {dims}",
                config.name, input.name
            ))),
        };
    }
    if dims.iter().any(|extent| *extent < 0) {
        return Err(BackendError::InvalidModel(format!(
            "an engine needs to know which shapes input '{}' of model '{}' can have, its dims are {dims}: say \
             them with parameter '{SHAPES}', such as '{}=MIN/OPT/MAX', without the batch dimension",
            input.name, config.name, input.name
        )));
    }
    Ok(Range {
        min: dims.clone(),
        opt: dims.clone(),
        max: dims.clone(),
    })
}

/// Whether the shapes are among those that the configuration has.
fn fits(range: &Range, dims: &Shape) -> bool {
    [&range.min, &range.opt, &range.max]
        .into_iter()
        .all(|shape| {
            shape.len() == dims.len()
                && shape
                    .iter()
                    .zip(dims.iter())
                    .all(|(extent, dim)| *dim < 0 || extent == dim)
        })
}

/// The same with rows before: any number up to that, and best that.
fn with_rows(range: &Range, rows: Option<i64>) -> Range {
    let Some(rows) = rows else {
        return range.clone();
    };
    Range {
        min: range.min.with_leading(1),
        opt: range.opt.with_leading(rows),
        max: range.max.with_leading(rows),
    }
}

fn parameter<T: FromStr<Err: std::fmt::Display>>(
    config: &ModelConfig,
    key: &str,
) -> Result<Option<T>, BackendError> {
    let Some(text) = config.parameters.get(key) else {
        return Ok(None);
    };
    let value = text.trim().parse();
    value
        .map(Some)
        .map_err(|why| unreadable(config, key, text, &format!("{why}")))
}

fn unreadable(config: &ModelConfig, key: &str, text: &str, why: &str) -> BackendError {
    BackendError::InvalidModel(format!(
        "parameter '{key}' of model '{}' has value '{}': {why}",
        config.name,
        text.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_config::{Environment, from_pbtxt};

    fn config(dims: &str, rest: &str) -> ModelConfig {
        let text = format!(
            "name: 'm' backend: 'tensorrt' platform: 'tensorrt_plan'
             input {{ name: 'x' data_type: TYPE_FP32 dims: [ {dims} ] }}
             output {{ name: 'y' data_type: TYPE_FP32 dims: 1 }}
             instance_group {{ kind: KIND_CPU }} {rest}"
        );
        let proto = from_pbtxt(&text, "config.pbtxt").unwrap();
        ModelConfig::from_proto(proto, &Environment::default()).unwrap()
    }

    fn with(key: &str, value: &str) -> String {
        format!("parameters {{ key: '{key}' value {{ string_value: '{value}' }} }}")
    }

    fn shown(config: &ModelConfig) -> Result<Vec<String>, String> {
        let recipe = recipe(config).map_err(|error| error.to_string())?;
        Ok(recipe.profiles.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn profiles_follow_the_batch_sizes() {
        let preferred = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 8 ] }";
        let buckets = format!("max_batch_size: 8 {}", with(BUCKETS, "1, 2,99"));
        let table: [(&str, &str, &[&str]); 6] = [
            ("3", "max_batch_size: 8", &["x=1x3/8x3/8x3"]),
            ("3", preferred, &["x=1x3/4x3/4x3", "x=1x3/8x3/8x3"]),
            (
                "3",
                &buckets,
                &["x=1x3/1x3/1x3", "x=1x3/2x3/2x3", "x=1x3/8x3/8x3"],
            ),
            ("3", "max_batch_size: 1", &["x=1x3/1x3/1x3"]),
            ("3", "", &["x=3/3/3"]),
            ("3, 4", "max_batch_size: 2", &["x=1x3x4/2x3x4/2x3x4"]),
        ];
        for (dims, rest, expected) in table {
            assert_eq!(shown(&config(dims, rest)).unwrap(), expected, "{rest}");
        }
    }

    #[test]
    fn shapes_that_vary_are_said_by_the_model() {
        let said = |shapes| format!("max_batch_size: 2 {}", with(SHAPES, shapes));
        assert_eq!(
            shown(&config("-1, 3", &said("x=1x3/4x3/9x3"))).unwrap(),
            ["x=1x1x3/2x4x3/2x9x3"]
        );
        assert_eq!(
            shown(&config("-1", &with(SHAPES, "x=1/4/9"))).unwrap(),
            ["x=1/4/9"]
        );
        let table = [
            (
                config("-1, 3", "max_batch_size: 2"),
                "say them with parameter 'engine_shapes'",
            ),
            (
                config("-1, 3", &said("x=1x4")),
                "other shapes for input 'x'",
            ),
            (config("-1, 3", &said("x=4")), "other shapes for input 'x'"),
            (config("3", &said("z=4")), "names input 'z'"),
            (
                config("3", &said("x")),
                "'engine_shapes' of model 'm' has value 'x'",
            ),
            (
                config(
                    "3",
                    &format!("max_batch_size: 99 {}", with(BUCKETS, "1,2,3,4,5,6,7,8")),
                ),
                "9 batch sizes",
            ),
            (
                config("3", &format!("max_batch_size: 9 {}", with(BUCKETS, "1;2"))),
                "batch sizes such as",
            ),
        ];
        for (config, part) in table {
            let message = shown(&config).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn parameters_are_read_or_refused_with_the_value() {
        let all = [
            (PRECISION, "FP32"),
            (HARDWARE, "ampere-plus"),
            (VERSION_COMPATIBLE, "true"),
            (LEVEL, "2"),
            (WORKSPACE, "1048576"),
            (STREAMING, "auto"),
        ];
        let text: String = all.iter().map(|(key, value)| with(key, value)).collect();
        let read = recipe(&config("3", &text)).unwrap();
        let expected = Recipe {
            precision: Precision::Fp32,
            hardware: super::super::recipe::Hardware::AmperePlus,
            version_compatible: true,
            weight_streaming: true,
            optimization_level: Some(2),
            workspace_byte_limit: Some(1_048_576),
            profiles: vec!["x=3".parse().unwrap()],
        };
        assert_eq!(read, expected);
        let plain = Recipe {
            profiles: expected.profiles,
            ..Recipe::default()
        };
        assert_eq!(recipe(&config("3", "")).unwrap(), plain);
        for (key, value) in [
            (PRECISION, "int4"),
            (VERSION_COMPATIBLE, "yes"),
            (LEVEL, "-1"),
            (WORKSPACE, "1G"),
        ] {
            let message = recipe(&config("3", &with(key, value)))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(&format!("'{key}' of model 'm' has value '{value}'")),
                "{message}"
            );
        }
    }

    #[test]
    fn the_tolerance_is_the_models_or_that_of_the_precision() {
        let of = |text: &str| tolerance(&config("3", text), Precision::Tf32);
        assert_eq!(of("").unwrap(), Some(1e-2));
        assert_eq!(of(&with(TOLERANCE, "0.5")).unwrap(), Some(0.5));
        assert_eq!(of(&with(TOLERANCE, "none")).unwrap(), None);
        assert!(of(&with(TOLERANCE, "-1")).is_err());
        assert!(of(&with(TOLERANCE, "NaN")).is_err());
    }
}
