//! An inference request as both doors read it, before it is known whether the model likes it, and
//! the parameters that the server itself consumes.

use std::{fmt, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{classification::Classification, excerpt, shared_memory::SharedTensors};
use crate::{
    admission::Limits,
    error::{Error, Result},
    inference::{
        Correlation, CorrelationId, Input, Parameter, Parameters, Probe, Request, ResponseSender,
    },
    trace::Trace,
};

/// A request for inference, read from the wire.
#[derive(Clone, Debug, Default)]
pub struct InferRequest {
    /// The client's id for it; empty if none was given.
    pub id: String,
    /// The inputs, in the client's order.
    pub inputs: SmallVec<[Input; 2]>,
    /// Names of the wanted outputs; `None` for all.
    pub outputs: Option<Vec<String>>,
    /// How the outputs are to be written (HTTP only).
    pub formats: OutputFormats,
    /// Which of them are wanted as classes.
    pub(super) classification: Classification,
    pub(super) options: Options,
    /// Tensors that are in shared memory.
    pub(super) shared: SharedTensors,
    /// Its trace, if it is traced.
    pub(super) trace: Option<Arc<Trace>>,
}

/// Which outputs an HTTP client wants as binary data rather than as JSON.
#[derive(Clone, Debug, Default)]
pub struct OutputFormats {
    /// For outputs that the request does not list.
    pub binary_by_default: bool,
    /// For the outputs that it lists, in their order.
    pub listed: SmallVec<[bool; 4]>,
}

impl OutputFormats {
    /// Whether output `index` of the answer is written as binary data.
    pub fn is_binary(&self, index: usize) -> bool {
        self.listed
            .get(index)
            .copied()
            .unwrap_or(self.binary_by_default)
    }
}

impl InferRequest {
    /// As the rooms below see it.
    pub(super) fn into_request(self, respond: ResponseSender) -> Request {
        let mut request = Request::new(self.inputs, respond);
        request.id = self.id;
        request.outputs = self.outputs;
        request.parameters = self.options.custom;
        request.correlation = self.options.correlation;
        request.priority = self.options.priority;
        request.timeout = self.options.timeout;
        request.probe = self.trace.map(|trace| trace as Arc<dyn Probe>);
        request
    }
}

/// Request-level parameters, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) correlation: Correlation,
    pub(super) priority: u64,
    pub(super) timeout: Option<Duration>,
    pub(super) binary_data_output: bool,
    /// Whether a stream is told of an end that comes without a response.
    pub(super) empty_final_response: bool,
    pub(super) custom: Parameters,
    /// Which of the consumed parameters were set, a bit each.
    seen: u8,
}

/// A request-level parameter's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OptionName {
    SequenceId,
    SequenceStart,
    SequenceEnd,
    Priority,
    Timeout,
    BinaryDataOutput,
    Custom(String),
}

/// Longest sequence id given as text, in bytes (Triton's `STRING_CORRELATION_ID_MAX_LENGTH_BYTES`).
const SEQUENCE_ID_BYTE_SIZE: usize = 128;

impl OptionName {
    pub(super) fn new(name: &str) -> Self {
        match name {
            "sequence_id" => Self::SequenceId,
            "sequence_start" => Self::SequenceStart,
            "sequence_end" => Self::SequenceEnd,
            "priority" => Self::Priority,
            "timeout" => Self::Timeout,
            "binary_data_output" => Self::BinaryDataOutput,
            custom => Self::Custom(custom.to_owned()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::SequenceId => "sequence_id",
            Self::SequenceStart => "sequence_start",
            Self::SequenceEnd => "sequence_end",
            Self::Priority => "priority",
            Self::Timeout => "timeout",
            Self::BinaryDataOutput => "binary_data_output",
            Self::Custom(name) => name,
        }
    }

    fn bit(&self) -> u8 {
        match self {
            Self::SequenceId => 1,
            Self::SequenceStart => 2,
            Self::SequenceEnd => 4,
            Self::Priority => 8,
            Self::Timeout => 16,
            Self::BinaryDataOutput => 32,
            Self::Custom(_) => 0,
        }
    }
}

impl Options {
    /// Takes one parameter in.
    ///
    /// # Errors
    /// `InvalidArgument` for a value of the wrong type, a name that came before, or a reserved one.
    pub(super) fn set(&mut self, name: OptionName, value: Parameter) -> Result<()> {
        if self.seen & name.bit() != 0 {
            return Err(duplicate_parameter(name.text()));
        }
        self.seen |= name.bit();
        match name {
            OptionName::SequenceId => self.correlation.id = correlation_id(value)?,
            OptionName::SequenceStart => self.correlation.start = boolean(&name, &value)?,
            OptionName::SequenceEnd => self.correlation.end = boolean(&name, &value)?,
            OptionName::Priority => self.priority = unsigned(&name, &value)?,
            OptionName::Timeout => {
                let microseconds = unsigned(&name, &value)?;
                self.timeout = (microseconds > 0).then(|| Duration::from_micros(microseconds));
            }
            OptionName::BinaryDataOutput => self.binary_data_output = boolean(&name, &value)?,
            OptionName::Custom(name) => self.set_custom(name, value)?,
        }
        Ok(())
    }

    /// Takes header fields in as parameters.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is reserved or came before, or if there are too many.
    pub(super) fn forward(&mut self, fields: &[(String, String)], limits: &Limits) -> Result<()> {
        for (name, value) in fields {
            let reserved = name == "headers" || name.starts_with("triton_");
            let OptionName::Custom(custom) = OptionName::new(name) else {
                return Err(reserved_header(name));
            };
            if reserved {
                return Err(reserved_header(name));
            }
            self.set_custom(custom, Parameter::String(value.clone()))?;
        }
        within("number of parameters", self.custom.len(), limits.parameters)
    }

    fn set_custom(&mut self, name: String, value: Parameter) -> Result<()> {
        if name == "headers" || name.starts_with("triton_") {
            return Err(Error::invalid_argument(
                "reserved_parameter",
                format!(
                    "parameter '{}' is reserved for Triton usage and should not be specified.",
                    excerpt(&name)
                ),
            ));
        }
        if self.custom.iter().any(|(other, _)| *other == name) {
            return Err(duplicate_parameter(&name));
        }
        self.custom.push((name, value));
        Ok(())
    }
}

/// Adds `name` to `names` unless it is there already.
pub(super) fn push_output(names: &mut Vec<String>, name: String) -> Result<()> {
    if names.contains(&name) {
        return Err(Error::invalid_argument(
            "duplicate_output",
            format!("output '{}' already exists in request", excerpt(&name)),
        ));
    }
    names.push(name);
    Ok(())
}

/// The error for a second input of the same name.
pub(super) fn duplicate_input(name: &str) -> Error {
    Error::invalid_argument(
        "duplicate_input",
        format!("input '{}' already exists in request", excerpt(name)),
    )
}

/// Checks a count or size that a client chose against its limit.
///
/// # Errors
/// `InvalidArgument` that names the thing, what it came to, and the limit.
pub(super) fn within(what: &str, actual: usize, limit: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::invalid_argument(
        "limit_exceeded",
        format!("{what}: {actual} exceeds the limit of {limit}"),
    ))
}

/// Checks the bytes of a request's JSON against `--http-max-input-size`, in Triton's words.
///
/// # Errors
/// `InvalidArgument` beyond the limit.
pub(super) fn json_within(actual: usize, limit: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(json_too_large(&actual, limit))
}

/// The error of [`json_within`], for a size that may be known as no more than a bound.
pub(super) fn json_too_large(actual: &dyn fmt::Display, limit: usize) -> Error {
    Error::invalid_argument(
        "json_too_large",
        format!(
            "request JSON size of {actual} bytes exceeds the maximum allowed input size of {limit} \
             bytes. Use --http-max-input-size to increase the limit."
        ),
    )
}

/// The error for a parameter that a repository call does not have.
pub(super) fn unknown_parameter(name: &str) -> Error {
    Error::invalid_argument(
        "unknown_parameter",
        format!("unrecognized parameter '{}' in request", excerpt(name)),
    )
}

fn reserved_header(name: &str) -> Error {
    Error::invalid_argument(
        "reserved_parameter",
        format!(
            "Header '{}' is reserved for Triton usage and cannot be forwarded.",
            excerpt(name)
        ),
    )
}

fn correlation_id(value: Parameter) -> Result<CorrelationId> {
    match value {
        Parameter::String(text) => {
            within("length of 'sequence_id'", text.len(), SEQUENCE_ID_BYTE_SIZE)?;
            Ok(if text.is_empty() {
                CorrelationId::None
            } else {
                CorrelationId::Text(text)
            })
        }
        value => Ok(match unsigned(&OptionName::SequenceId, &value)? {
            0 => CorrelationId::None,
            number => CorrelationId::Number(number),
        }),
    }
}

fn boolean(name: &OptionName, value: &Parameter) -> Result<bool> {
    match value {
        Parameter::Bool(value) => Ok(*value),
        _ => Err(wrong_type(name, "a boolean")),
    }
}

fn unsigned(name: &OptionName, value: &Parameter) -> Result<u64> {
    match value {
        Parameter::Uint(value) => Ok(*value),
        Parameter::Int(value) => {
            u64::try_from(*value).map_err(|_| wrong_type(name, "a number >= 0"))
        }
        _ if *name == OptionName::SequenceId => {
            Err(wrong_type(name, "an unsigned integer or a string"))
        }
        _ => Err(wrong_type(name, "an unsigned integer")),
    }
}

fn wrong_type(name: &OptionName, expected: &str) -> Error {
    Error::invalid_argument(
        "parameter_type",
        format!(
            "invalid value type for '{}' parameter, expected {expected}",
            name.text()
        ),
    )
}

fn duplicate_parameter(name: &str) -> Error {
    Error::invalid_argument(
        "duplicate_parameter",
        format!("parameter '{}' is given twice", excerpt(name)),
    )
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
