//! Warmup samples: their rules, and their typed form.

use std::collections::BTreeMap;

use super::{
    ConfigError, WarmupData, WarmupInput, WarmupSample,
    filename::{FileName, escapes},
    tensors::datatype_of,
};
use crate::{
    proto::inference::{
        self as pb,
        model_warmup::{Input, input::InputDataType},
    },
    tensor::{Datatype, Shape},
};

pub(super) fn samples(config: &pb::ModelConfig) -> Result<Vec<WarmupSample>, ConfigError> {
    config
        .model_warmup
        .iter()
        .map(|sample| {
            one_sample(config, sample).map_err(|fault| {
                ConfigError::Invalid(format!(
                    "model_warmup '{}': {fault} for {}",
                    sample.name, config.name
                ))
            })
        })
        .collect()
}

fn one_sample(config: &pb::ModelConfig, sample: &pb::ModelWarmup) -> Result<WarmupSample, String> {
    let most = u32::try_from(config.max_batch_size).unwrap_or(0).max(1);
    if sample.batch_size > most {
        return Err(format!(
            "'batch_size' {} is more than the {most} that the model takes",
            sample.batch_size
        ));
    }
    let mut inputs = BTreeMap::new();
    for (name, input) in &sample.inputs {
        if !config.input.iter().any(|known| known.name == *name) {
            let known: Vec<_> = config.input.iter().map(|i| i.name.as_str()).collect();
            return Err(format!(
                "unexpected inference input '{name}', allowed inputs are: {}",
                known.join(", ")
            ));
        }
        let input = one_input(input).map_err(|fault| format!("input '{name}' {fault}"))?;
        inputs.insert(name.clone(), input);
    }
    Ok(WarmupSample {
        name: sample.name.clone(),
        batch_size: usize::try_from(sample.batch_size).unwrap_or(usize::MAX),
        count: usize::try_from(sample.count).unwrap_or(usize::MAX).max(1),
        inputs,
    })
}

fn one_input(input: &Input) -> Result<WarmupInput, String> {
    let datatype = datatype_of(input.data_type).ok_or("must specify 'data_type'")?;
    let dims = Shape::from(input.dims.as_slice());
    if let Some(dim) = dims.iter().find(|&&dim| dim < 1) {
        return Err(format!("must have fixed 'dims' >= 1, not {dim}"));
    }
    if dims.byte_size(datatype).is_none() && dims.element_count().is_none() {
        return Err(format!(
            "has 'dims' {dims}, which are more than can be addressed"
        ));
    }
    let data = match &input.input_data_type {
        None => return Err("must specify 'zero_data', 'random_data' or 'input_data_file'".into()),
        Some(InputDataType::ZeroData(_)) => WarmupData::Zero,
        // Random bytes would not be elements; Triton falls back as well.
        Some(InputDataType::RandomData(_)) if datatype == Datatype::Bytes => WarmupData::Zero,
        Some(InputDataType::RandomData(_)) => WarmupData::Random,
        Some(InputDataType::InputDataFile(file)) if escapes(file, FileName::Below) => {
            return Err(format!(
                "has 'input_data_file' '{}', which must be a relative path inside the model's \
                 'warmup' folder",
                file.escape_debug()
            ));
        }
        Some(InputDataType::InputDataFile(file)) => WarmupData::File(file.clone()),
    };
    Ok(WarmupInput {
        datatype,
        dims,
        data,
    })
}
