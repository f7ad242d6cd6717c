//! The one place where a request is checked against its model: names, datatypes, shapes, sizes.
//! After it, rooms below may rely on all of them.

use crate::{
    error::{Error, Result},
    inference::{Input, Request},
    model_config::{InputSpec, ModelConfig},
    tensor::{BytesTensor, Datatype, Shape},
};

/// Checks `request`, and sets the fields that say "set by the check".
pub(super) fn check(request: &mut Request, model: &ModelConfig) -> Result<()> {
    known_outputs(request, model)?;
    let result = outputs(request, model).and_then(|()| inputs(request, model));
    // As Triton: the id tells a client with many requests in flight which one is meant. Only names
    // of outputs that there are not go without, and clients look at how that message begins.
    result.map_err(|error| {
        let id = if request.id.is_empty() {
            "<id_unknown>"
        } else {
            &request.id
        };
        error.prefixed(format_args!("[request id: {id}] "))
    })
}

fn inputs(request: &mut Request, model: &ModelConfig) -> Result<()> {
    let name = &model.name;
    for position in 0..request.inputs.len() {
        let (before, rest) = request.inputs.split_at_mut(position);
        let Some(input) = rest.first_mut() else { break };
        let index = model
            .inputs
            .iter()
            .position(|spec| *spec.name == *input.name);
        input.index = index.ok_or_else(|| {
            invalid(format!(
                "unexpected inference input '{}' for model '{name}'",
                input.name
            ))
        })?;
        if before.iter().any(|other| other.index == input.index) {
            return Err(invalid(format!(
                "input '{}' already exists in request",
                input.name
            )));
        }
    }
    missing_inputs(request, model)?;
    request.inputs.sort_unstable_by_key(|input| input.index);
    request.batch_size = batch_size(request, model)?;
    for input in &mut request.inputs {
        if let Some(spec) = model.inputs.get(input.index) {
            tensor(input, spec, model)?;
        }
    }
    Ok(())
}

fn missing_inputs(request: &Request, model: &ModelConfig) -> Result<()> {
    let given = |index| request.inputs.iter().any(|input| input.index == index);
    let mut missing = model
        .inputs
        .iter()
        .enumerate()
        .filter(|&(index, spec)| !spec.optional && !given(index))
        .map(|(_, spec)| &*spec.name)
        .peekable();
    if missing.peek().is_none() {
        return Ok(());
    }
    let got: Vec<_> = request
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    let (most, actual) = (model.inputs.len(), got.len());
    let required = model.inputs.iter().filter(|spec| !spec.optional).count();
    let expected = if required == most {
        format!("{most} inputs")
    } else {
        format!("number of inputs between {required} and {most}")
    };
    Err(invalid(format!(
        "expected {expected} but got {actual} inputs for model '{}'. Got input(s) [{}], but missing \
         required input(s) [{}]. Please provide all required input(s).",
        model.name,
        quoted(got),
        quoted(missing),
    )))
}

/// Rows of the request: the leading dimension that all inputs share; 1 without one.
fn batch_size(request: &Request, model: &ModelConfig) -> Result<usize> {
    if model.max_batch_size == 0 {
        return Ok(1);
    }
    let mut common = None;
    for input in &request.inputs {
        let Some(&rows) = input.tensor.shape.first() else {
            return Err(invalid(format!(
                "input '{}' has no shape but model requires batch dimension for '{}'",
                input.name, model.name
            )));
        };
        if *common.get_or_insert(rows) != rows {
            return Err(invalid(format!(
                "input '{}' batch size does not match other inputs for '{}'",
                input.name, model.name
            )));
        }
    }
    let rows = common.unwrap_or(1);
    match usize::try_from(rows) {
        Ok(rows) if (1..=model.max_batch_size).contains(&rows) => Ok(rows),
        Ok(0) | Err(_) => Err(invalid(format!(
            "inference request batch-size must be >= 1 for '{}', got {rows}",
            model.name
        ))),
        Ok(_) => Err(invalid(format!(
            "inference request batch-size must be <= {} for '{}', got {rows}",
            model.max_batch_size, model.name
        ))),
    }
}

fn tensor(input: &mut Input, spec: &InputSpec, model: &ModelConfig) -> Result<()> {
    let (name, model_name) = (&input.name, &model.name);
    if input.tensor.datatype != spec.datatype {
        return Err(invalid(format!(
            "inference input '{name}' data-type is '{}', but model '{model_name}' expects '{}'",
            input.tensor.datatype, spec.datatype
        )));
    }
    let batched = model.max_batch_size > 0;
    let shape = &input.tensor.shape;
    let inner = Shape::from(shape.get(usize::from(batched)..).unwrap_or_default());
    if !spec.dims.accepts(&inner) || inner.iter().any(|&dim| dim < 0) {
        let expected = if batched {
            spec.dims.with_leading(-1)
        } else {
            spec.dims.clone()
        };
        let hint = if batched {
            " NOTE: max_batch_size is not zero in the model's configuration, so each input's shape begins \
             with a batch dimension."
        } else {
            ""
        };
        return Err(invalid(format!(
            "unexpected shape for input '{name}' for model '{model_name}'. Expected {expected}, got {shape}.{hint}"
        )));
    }
    byte_size(input, model)?;
    if let Some(reshape) = &spec.reshape {
        let engine = inner.reshaped(&spec.dims, reshape).ok_or_else(|| {
            invalid(format!("input '{name}' of shape {shape} cannot be reshaped to {reshape} for model '{model_name}'"))
        })?;
        input.tensor.shape = match shape.first() {
            Some(&rows) if batched => engine.with_leading(rows),
            _ => engine,
        };
    }
    Ok(())
}

fn byte_size(input: &Input, model: &ModelConfig) -> Result<()> {
    let (name, model_name, shape) = (&input.name, &model.name, &input.tensor.shape);
    let Some(elements) = shape.element_count() else {
        return Err(invalid(format!(
            "input '{name}' of shape {shape} for model '{model_name}' has more elements than can be counted"
        )));
    };
    if input.tensor.datatype == Datatype::Bytes {
        let Some(data) = input.tensor.data.host() else {
            return Err(invalid(format!(
                "input '{name}' of datatype BYTES must be in host memory"
            )));
        };
        return strings(name, model_name, data, elements);
    }
    let expected = shape.byte_size(input.tensor.datatype);
    let got = input.tensor.data.byte_size();
    if expected == Some(got) {
        return Ok(());
    }
    let expected = expected.map_or_else(
        || "more than can be addressed".to_owned(),
        |size| size.to_string(),
    );
    Err(invalid(format!(
        "input byte size mismatch for input '{name}' for model '{model_name}'. Expected {expected}, got {got}"
    )))
}

fn strings(name: &str, model: &str, data: &[u8], expected: usize) -> Result<()> {
    let mut count = 0;
    for element in BytesTensor::new(data) {
        if element.is_err() {
            return Err(invalid(format!(
                "incomplete string data for inference input '{name}' for model '{model}': element {count} is cut short"
            )));
        }
        count += 1;
    }
    if count == expected {
        return Ok(());
    }
    Err(invalid(format!(
        "unexpected number of string elements {count} for inference input '{name}' for model '{model}', \
         expecting {expected}"
    )))
}

fn known_outputs(request: &mut Request, model: &ModelConfig) -> Result<()> {
    let Some(names) = &request.outputs else {
        request.wanted = (0..model.outputs.len()).collect();
        return Ok(());
    };
    let index = |name: &String| {
        let index = model.outputs.iter().position(|spec| *spec.name == **name);
        index.ok_or_else(|| {
            invalid(format!(
                "unexpected inference output '{name}' for model '{}'",
                model.name
            ))
        })
    };
    request.wanted = names.iter().map(index).collect::<Result<_>>()?;
    Ok(())
}

fn outputs(request: &Request, model: &ModelConfig) -> Result<()> {
    for (position, index) in request.wanted.iter().enumerate() {
        if request
            .wanted
            .iter()
            .take(position)
            .any(|other| other == index)
        {
            let name = model.outputs.get(*index).map_or("", |spec| &spec.name);
            return Err(invalid(format!(
                "output '{name}' already exists in request"
            )));
        }
    }
    Ok(())
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("'{name}'")).collect();
    quoted.join(",")
}

fn invalid(message: String) -> Error {
    Error::invalid_argument("request", message)
}
