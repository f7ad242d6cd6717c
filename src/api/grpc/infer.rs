//! `ModelInfer`: from the message to the model and back. Raw tensors stay slices of the received
//! message on the way in, and of the answer's slab on the way out.

use std::{collections::HashMap, num::NonZeroUsize, vec};

use bytes::Bytes;
use smallvec::SmallVec;

use super::contents;
use crate::{
    admission::{Limits, Verb},
    api::{
        InferRequest,
        admit::Caller,
        classification::Classification,
        excerpt, parse_version,
        request::{OptionName, Options, duplicate_input, push_output, within},
        shared_memory::{PlaceKey, PlaceParameters, SharedTensors, StoredOutputs},
        trace::Watched,
    },
    error::{Error, Result},
    inference::{Input, Parameter, Parameters, Response},
    proto::inference::{
        self as pb,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
        model_infer_response::InferOutputTensor,
    },
    shared_memory::Reference,
    tensor::{Buffer, Datatype, Shape, Tensor},
};

type WireParameters = HashMap<String, pb::InferParameter>;

/// A parameter that only streams have a use for; `ModelInfer` takes no notice of it.
const FINAL_RESPONSE: &str = "triton_enable_empty_final_response";

/// Answers an inference request. Dropping the future cancels it.
pub(super) async fn infer(
    caller: &Caller,
    mut message: pb::ModelInferRequest,
    watched: &mut Watched,
) -> Result<pb::ModelInferResponse> {
    let model = std::mem::take(&mut message.model_name);
    let api = caller.admit(Verb::Infer, &model)?;
    let version = parse_version(&message.model_version)?;
    let lease = api.resolve_unary(version, "ModelInfer RPC")?;
    watched.begin(&api);
    watched.received();
    let mut request = read(message, &model, &api.limits)?;
    request.trace = watched.trace();
    let id = request.id.clone();
    let (response, stored) = request.run(&api, &lease).await?;
    write(id, lease.name(), lease.version(), response, &stored)
}

/// Reads a message.
///
/// # Errors
/// `InvalidArgument` if it goes beyond `limits` or breaks the rules on tensor contents,
/// `Unimplemented` for extensions that this server does not have.
pub fn read(message: pb::ModelInferRequest, model: &str, limits: &Limits) -> Result<InferRequest> {
    within(
        "number of inputs",
        message.inputs.len(),
        limits.tensors_per_request,
    )?;
    within(
        "number of outputs",
        message.outputs.len(),
        limits.tensors_per_request,
    )?;
    within("length of 'id'", message.id.len(), limits.text_byte_size)?;
    let mut shared = SharedTensors::default();
    let (outputs, classification) = read_outputs(message.outputs, limits, &mut shared)?;
    Ok(InferRequest {
        options: read_options(message.parameters, limits)?,
        inputs: read_inputs(
            message.inputs,
            message.raw_input_contents,
            model,
            limits,
            &mut shared,
        )?,
        outputs,
        classification,
        id: message.id,
        shared,
        ..InferRequest::default()
    })
}

fn read_inputs(
    inputs: Vec<InferInputTensor>,
    raw: Vec<Bytes>,
    model: &str,
    limits: &Limits,
    shared: &mut SharedTensors,
) -> Result<SmallVec<[Input; 2]>> {
    let mut raw = (!raw.is_empty()).then(|| raw.into_iter());
    let mut read = SmallVec::<[Input; 2]>::new();
    for input in inputs {
        within(
            "length of an input's name",
            input.name.len(),
            limits.text_byte_size,
        )?;
        within(
            "number of dimensions",
            input.shape.len(),
            limits.dims_per_tensor,
        )?;
        within(
            "number of parameters",
            input.parameters.len(),
            limits.parameters,
        )?;
        if read.iter().any(|other| other.name == input.name) {
            return Err(duplicate_input(&input.name));
        }
        let datatype = datatype(&input)?;
        let data = match place(&input.parameters, limits)? {
            Some(place) => {
                refuse_contents(&input, model)?;
                shared.inputs.push((read.len(), place));
                Buffer::Host(Bytes::new())
            }
            None => data(&input, datatype, raw.as_mut(), model)?,
        };
        let tensor = Tensor {
            datatype,
            shape: Shape::new(input.shape),
            data,
        };
        read.push(Input::new(input.name, tensor));
    }
    Ok(read)
}

fn datatype(input: &InferInputTensor) -> Result<Datatype> {
    Datatype::from_name(&input.datatype).ok_or_else(|| {
        refuse(format!(
            "unknown datatype '{}' of input '{}'",
            excerpt(&input.datatype),
            excerpt(&input.name)
        ))
    })
}

/// An input's bytes: the next raw entry if the message has any, otherwise its typed contents.
fn data(
    input: &InferInputTensor,
    datatype: Datatype,
    raw: Option<&mut vec::IntoIter<Bytes>>,
    model: &str,
) -> Result<Buffer> {
    let typed = input.contents.as_ref();
    let Some(raw) = raw else {
        let Some(typed) = typed else {
            return Err(no_data(&input.name, model));
        };
        return contents::to_bytes(typed, datatype)
            .map(Buffer::from)
            .map_err(|error| error.prefixed(format_args!("input '{}': ", excerpt(&input.name))));
    };
    if typed.is_some_and(contents::is_filled) {
        return Err(refuse(format!(
            "contents field must not be specified when using raw_input_contents for '{}' for \
             model '{model}'",
            excerpt(&input.name)
        )));
    }
    raw.next()
        .map(Buffer::Host)
        .ok_or_else(|| no_data(&input.name, model))
}

/// # Errors
/// `InvalidArgument` if an input in shared memory has contents as well.
fn refuse_contents(input: &InferInputTensor, model: &str) -> Result<()> {
    if !input.contents.as_ref().is_some_and(contents::is_filled) {
        return Ok(());
    }
    Err(refuse(format!(
        "unexpected 'content' provided when using shared memory for input tensor '{}' for model \
         '{model}'",
        excerpt(&input.name)
    )))
}

fn no_data(input: &str, model: &str) -> Error {
    refuse(format!(
        "unable to find data for input tensor '{}' for model '{model}' in request.",
        excerpt(input)
    ))
}

fn read_outputs(
    outputs: Vec<InferRequestedOutputTensor>,
    limits: &Limits,
    shared: &mut SharedTensors,
) -> Result<(Option<Vec<String>>, Classification)> {
    let mut classification = Classification::default();
    if outputs.is_empty() {
        return Ok((None, classification));
    }
    let mut names = Vec::with_capacity(outputs.len());
    for output in outputs {
        within(
            "length of an output's name",
            output.name.len(),
            limits.text_byte_size,
        )?;
        within(
            "number of parameters",
            output.parameters.len(),
            limits.parameters,
        )?;
        if let Some(place) = place(&output.parameters, limits)? {
            shared.outputs.push((names.len(), place));
        }
        if let Some(value) = output.parameters.get("classification") {
            classification.push(names.len(), class_count(value)?);
        }
        push_output(&mut names, output.name)?;
    }
    Ok((Some(names), classification))
}

fn class_count(value: &pb::InferParameter) -> Result<NonZeroUsize> {
    let Some(ParameterChoice::Int64Param(count)) = value.parameter_choice else {
        return Err(refuse(
            "invalid value type for 'classification' parameter, expected int64_param".to_owned(),
        ));
    };
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    // Triton's words, which say >= 0 of a value that has to be greater.
    count.ok_or_else(|| {
        refuse("invalid value for 'classification' parameter, expected >= 0".to_owned())
    })
}

/// Where a tensor is, if it is in shared memory.
fn place(parameters: &WireParameters, limits: &Limits) -> Result<Option<Reference>> {
    let mut place = PlaceParameters::default();
    for (name, value) in parameters {
        if let Some(key) = PlaceKey::of(name) {
            place.set(key, parameter(name, value.clone(), limits)?)?;
        }
    }
    place.finish()
}

fn read_options(parameters: WireParameters, limits: &Limits) -> Result<Options> {
    within("number of parameters", parameters.len(), limits.parameters)?;
    let mut options = Options::default();
    for (name, value) in parameters {
        within(
            "length of a parameter's name",
            name.len(),
            limits.text_byte_size,
        )?;
        let value = parameter(&name, value, limits)?;
        if name == FINAL_RESPONSE {
            let Parameter::Bool(value) = value else {
                return Err(parameter_type(&name, "bool_param"));
            };
            options.empty_final_response = value;
            continue;
        }
        let name = OptionName::new(&name);
        if let (OptionName::Custom(name), Parameter::Uint(_)) = (&name, &value) {
            return Err(parameter_type(
                name,
                "bool_param, int64_param, string_param or double_param",
            ));
        }
        options.set(name, value)?;
    }
    Ok(options)
}

fn parameter(name: &str, value: pb::InferParameter, limits: &Limits) -> Result<Parameter> {
    Ok(match value.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
        Some(ParameterChoice::Int64Param(value)) => Parameter::Int(value),
        Some(ParameterChoice::Uint64Param(value)) => Parameter::Uint(value),
        Some(ParameterChoice::DoubleParam(value)) => Parameter::Double(value),
        Some(ParameterChoice::StringParam(value)) => {
            within("length of a parameter", value.len(), limits.text_byte_size)?;
            Parameter::String(value)
        }
        None => return Err(parameter_type(name, "a value")),
    })
}

fn parameter_type(name: &str, expected: &str) -> Error {
    refuse(format!(
        "invalid value type for '{}' parameter, expected {expected}.",
        excerpt(name)
    ))
}

/// Writes an answer: every output raw, in order, one entry each; an empty one for those that are in
/// shared memory.
///
/// # Errors
/// `Internal` for an output that is not in host memory.
pub(super) fn write(
    id: String,
    model: &str,
    version: u64,
    response: Response,
    stored: &StoredOutputs,
) -> Result<pb::ModelInferResponse> {
    let count = response.outputs.len();
    let mut message = pb::ModelInferResponse {
        model_name: model.to_owned(),
        model_version: version.to_string(),
        id,
        parameters: write_parameters(response.parameters),
        outputs: Vec::with_capacity(count),
        raw_output_contents: Vec::with_capacity(count),
    };
    for (index, output) in response.outputs.into_iter().enumerate() {
        let bytes = if stored.holds(index) {
            Some(Bytes::new())
        } else {
            output.tensor.data.to_host_bytes()
        };
        let Some(bytes) = bytes else {
            return Err(Error::internal(
                "output_not_on_host",
                format!("output '{}' is not in host memory", output.name),
            ));
        };
        message.raw_output_contents.push(bytes);
        message.outputs.push(InferOutputTensor {
            name: String::from(&*output.name),
            datatype: output.tensor.datatype.name().to_owned(),
            shape: output.tensor.shape.to_vec(),
            ..InferOutputTensor::default()
        });
    }
    Ok(message)
}

fn write_parameters(parameters: Parameters) -> WireParameters {
    let choice = |value| match value {
        Parameter::Bool(value) => ParameterChoice::BoolParam(value),
        Parameter::Int(value) => ParameterChoice::Int64Param(value),
        Parameter::Uint(value) => ParameterChoice::Uint64Param(value),
        Parameter::Double(value) => ParameterChoice::DoubleParam(value),
        Parameter::String(value) => ParameterChoice::StringParam(value),
    };
    parameters
        .into_iter()
        .map(|(name, value)| {
            let parameter_choice = Some(choice(value));
            (name, pb::InferParameter { parameter_choice })
        })
        .collect()
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("grpc_request", message)
}

#[cfg(test)]
#[path = "infer_tests.rs"]
mod tests;
