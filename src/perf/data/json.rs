//! Input data in JSON, as perf_analyzer reads them.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{Data, Row, Tensor, elements::push_json, row_tensor};
use crate::perf::model::{Model, TensorSpec};

/// The rows of a file.
pub(super) fn rows(path: &Path, data: &Data, model: &Model) -> Result<Vec<Row>> {
    parse(&fs::read_to_string(path)?, data, model)
}

/// The rows of a text.
pub(super) fn parse(text: &str, data: &Data, model: &Model) -> Result<Vec<Row>> {
    let document: Value = serde_json::from_str(text)?;
    let list = |key: &str| document.get(key).map(entries).transpose();
    let inputs = list("data")?.context("there is no \"data\"")?;
    let outputs = list("validation_data")?.unwrap_or_default();
    ensure!(
        outputs.is_empty() || outputs.len() == inputs.len(),
        "\"data\" has {} entries and \"validation_data\" {}",
        inputs.len(),
        outputs.len()
    );
    let rows = inputs.iter().enumerate().map(|(index, entry)| {
        row(entry, outputs.get(index).copied(), data, model)
            .with_context(|| format!("entry {} of \"data\"", index + 1))
    });
    rows.collect()
}

/// The entries of a list; lists in it are streams, whose entries follow each other.
fn entries(list: &Value) -> Result<Vec<&Map<String, Value>>> {
    let mut found = Vec::new();
    for value in list.as_array().context("not a list")? {
        match value {
            Value::Object(entry) => found.push(entry),
            Value::Array(_) => found.extend(entries(value)?),
            _ => bail!("{value} is no entry"),
        }
    }
    Ok(found)
}

fn row(
    inputs: &Map<String, Value>,
    outputs: Option<&Map<String, Value>>,
    data: &Data,
    model: &Model,
) -> Result<Row> {
    for name in inputs.keys() {
        ensure!(model.input(name).is_some(), "the model has no input {name}");
    }
    let input = |spec: &TensorSpec| {
        let value = inputs.get(&spec.name);
        let value = value.with_context(|| format!("input {} is not in it", spec.name))?;
        tensor(spec, value, || data.dims(spec)).with_context(|| spec.name.clone())
    };
    let output = |(name, value): (&String, &Value)| {
        let spec = model.output(name);
        let spec = spec.with_context(|| format!("the model has no output {name}"))?;
        tensor(spec, value, || Ok(spec.dims.clone())).with_context(|| name.clone())
    };
    Ok(Row {
        inputs: model.inputs.iter().map(input).collect::<Result<_>>()?,
        expected: outputs
            .into_iter()
            .flatten()
            .map(output)
            .collect::<Result<_>>()?,
    })
}

/// A tensor: its elements, or base64 of its bytes, or either with a shape.
fn tensor(
    spec: &TensorSpec,
    value: &Value,
    dims: impl FnOnce() -> Result<Vec<i64>>,
) -> Result<Tensor> {
    let content = value.get("content").unwrap_or(value);
    let dims = match value.get("shape") {
        Some(shape) => serde_json::from_value(shape.clone()).context("shape")?,
        None => dims()?,
    };
    let mut bytes = Vec::new();
    match content.get("b64") {
        Some(text) => {
            let text = text.as_str().context("\"b64\" is no text")?;
            bytes = BASE64_STANDARD.decode(text)?;
        }
        None => push_json(spec.datatype, content, &mut bytes)?,
    }
    row_tensor(spec, dims, bytes)
}
