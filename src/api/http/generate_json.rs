//! The JSON of a generate request: an object whose keys are inputs of the model or parameters.

use super::{elements::read_flat, json_tensor::duplicate, reader::Reader};
use crate::{
    admission::Limits,
    api::{
        InferRequest, excerpt,
        request::{OptionName, duplicate_input, within},
    },
    error::{Error, Result},
    inference::Input,
    model_config::{InputSpec, ModelConfig},
    tensor::{Buffer, Shape, Tensor},
};

/// Depths of nesting.
const DOCUMENT: usize = 1;
const NESTED: usize = 2;
const ELEMENTS: usize = 3;

/// The key whose object holds further inputs and parameters.
const PARAMETERS: &str = "parameters";

/// Reads a generate request for `model`. An empty text asks for what an empty object does.
///
/// # Errors
/// `InvalidArgument`, in Triton's words where it has some, for JSON that is malformed, that does not
/// suit the model's inputs, or that goes beyond `limits`.
pub fn parse_generate_request(
    text: &[u8],
    model: &ModelConfig,
    limits: &Limits,
) -> Result<InferRequest> {
    let mut parser = Parser {
        model,
        limits,
        request: InferRequest::default(),
        byte_size: 0,
        has_id: false,
        has_parameters: false,
    };
    if !text.is_empty() {
        let mut reader = Reader::new(text, limits);
        let key_of = |key: &str| Key::of(key, model);
        reader.object(DOCUMENT, key_of, |reader, key| parser.member(reader, key))?;
        reader.finish()?;
    }
    Ok(parser.request)
}

/// What a key of the request is.
enum Key {
    Id,
    Parameters,
    /// Index among the model's inputs.
    Input(usize),
    Parameter(String),
}

impl Key {
    fn of(key: &str, model: &ModelConfig) -> Self {
        match key {
            PARAMETERS => Self::Parameters,
            _ => match Self::nested(key, model) {
                Self::Parameter(id) if id == "id" => Self::Id,
                other => other,
            },
        }
    }

    fn nested(key: &str, model: &ModelConfig) -> Self {
        let index = model.inputs.iter().position(|input| *input.name == *key);
        index.map_or_else(|| Self::Parameter(key.to_owned()), Self::Input)
    }
}

struct Parser<'m> {
    model: &'m ModelConfig,
    limits: &'m Limits,
    request: InferRequest,
    /// Bytes of the inputs so far.
    byte_size: usize,
    has_id: bool,
    has_parameters: bool,
}

impl Parser<'_> {
    fn member(&mut self, reader: &mut Reader<'_>, key: Key) -> Result<()> {
        match key {
            Key::Id => {
                if std::mem::replace(&mut self.has_id, true) {
                    return Err(duplicate("id"));
                }
                self.request.id = reader.string("length of 'id'")?;
                Ok(())
            }
            Key::Parameters => self.parameters(reader),
            Key::Input(index) => self.input(reader, index),
            Key::Parameter(name) => self.parameter(reader, name),
        }
    }

    fn parameters(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        if std::mem::replace(&mut self.has_parameters, true) {
            return Err(duplicate(PARAMETERS));
        }
        if self
            .model
            .inputs
            .iter()
            .any(|input| &*input.name == PARAMETERS)
        {
            return Err(refuse(format!(
                "Keyword '{PARAMETERS}' for nested schema also given as input tensor name"
            )));
        }
        if reader.peek()? != jiter::Peek::Object {
            return Err(refuse(format!(
                "Expected JSON object for keyword: '{PARAMETERS}'"
            )));
        }
        let model = self.model;
        let key_of = |key: &str| Key::nested(key, model);
        reader
            .object(NESTED, key_of, |reader, key| self.member(reader, key))
            .map_err(|error| error.prefixed(format_args!("Converting keyword: '{PARAMETERS}': ")))
    }

    fn parameter(&mut self, reader: &mut Reader<'_>, name: String) -> Result<()> {
        let count = self.request.options.custom.len() + 1;
        within("number of parameters", count, self.limits.parameters)?;
        let length = "length of a parameter's name";
        within(length, name.len(), self.limits.text_byte_size)?;
        match reader.peek()? {
            jiter::Peek::Array | jiter::Peek::Object | jiter::Peek::Null => Err(refuse(format!(
                "parameter '{}' has invalid type. It should be either 'int', 'bool', 'string', or \
                 'double'.",
                excerpt(&name)
            ))),
            _ => {
                let value = reader.parameter()?;
                let name = OptionName::Custom(name);
                self.request.options.set(name, value)
            }
        }
    }

    fn input(&mut self, reader: &mut Reader<'_>, index: usize) -> Result<()> {
        let Some(spec) = self.model.inputs.get(index) else {
            return Ok(());
        };
        let name = &spec.name;
        if self
            .request
            .inputs
            .iter()
            .any(|input| *input.name == **name)
        {
            return Err(duplicate_input(name));
        }
        let limit = self.limits.json_byte_size;
        let left = limit.saturating_sub(self.byte_size);
        let read = read_flat(reader, ELEMENTS, spec.datatype, left)
            .map_err(|error| error.prefixed(format_args!("input '{name}': ")))?;
        let Some((bytes, count)) = read else {
            return Err(too_large(name, self.byte_size, limit));
        };
        self.byte_size += bytes.len();
        let shape = shape(spec, self.model.max_batch_size > 0, count).ok_or_else(|| {
            refuse(format!(
                "The schema can not convert input '{name}' to tensor with proper shape"
            ))
        })?;
        let tensor = Tensor {
            datatype: spec.datatype,
            shape,
            data: Buffer::from(bytes),
        };
        self.request.inputs.push(Input::new(&**name, tensor));
        Ok(())
    }
}

/// The shape of `count` elements: fixed dimensions divide them, the innermost variable one takes the
/// rest, and the others, the batch dimension too, are 1.
fn shape(spec: &InputSpec, batched: bool, count: usize) -> Option<Shape> {
    let mut shape = match batched {
        true => spec.dims.with_leading(-1),
        false => spec.dims.clone(),
    };
    let mut left = i64::try_from(count).ok()?;
    for &dim in shape.iter().filter(|&&dim| dim != -1) {
        left = left
            .checked_rem(dim)
            .filter(|&rest| rest == 0)
            .map(|_| left / dim)?;
    }
    for index in (0..shape.len()).rev() {
        if shape.get(index) == Some(&-1) {
            shape.set(index, left);
            left = 1;
        }
    }
    (left == 1).then_some(shape)
}

fn too_large(name: &str, before: usize, limit: usize) -> Error {
    refuse(format!(
        "request size of {before} bytes with input '{name}' of more than {} bytes exceeds the maximum \
         allowed input size of {limit}. Use --http-max-input-size to increase the limit.",
        limit.saturating_sub(before)
    ))
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("generate_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::tests::model_config, inference::Parameter, tensor::Datatype};

    const INPUTS: [(&str, Datatype, &[i64]); 3] = [
        ("PROMPT", Datatype::Bytes, &[1]),
        ("N", Datatype::Int32, &[-1, 2]),
        ("STREAM", Datatype::Bool, &[1]),
    ];

    fn read(text: &str) -> Result<InferRequest> {
        parse_generate_request(
            text.as_bytes(),
            &model_config(8, &INPUTS),
            &Limits::default(),
        )
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn keys_are_inputs_or_parameters_at_either_depth() {
        let text = r#"{"PROMPT": "größer", "id": "7", "top_k": 3,
            "parameters": {"N": [1, 2, 3, 4], "id": "x", "greedy": true, "timeout": 0.5}}"#;
        let request = read(text).unwrap();
        assert_eq!(request.id, "7");
        let shapes: Vec<_> = request
            .inputs
            .iter()
            .map(|input| (&*input.name, input.tensor.shape.to_string()))
            .collect();
        assert_eq!(
            shapes,
            [("PROMPT", "[1,1]".into()), ("N", "[1,2,2]".into())]
        );
        let prompt = request.inputs[0].tensor.data.host().unwrap();
        assert_eq!(prompt, [&[8, 0, 0, 0][..], "größer".as_bytes()].concat());
        let names: Vec<_> = request
            .options
            .custom
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["top_k", "id", "greedy", "timeout"]);
        assert_eq!(request.options.custom[3].1, Parameter::Double(0.5));
        assert!(read("").unwrap().inputs.is_empty());
    }

    #[test]
    fn shapes_follow_from_the_number_of_elements() {
        let of = |dims: &[i64], batched, count| {
            let spec = InputSpec {
                name: "IN".into(),
                datatype: Datatype::Int8,
                dims: dims.into(),
                reshape: None,
                optional: false,
            };
            shape(&spec, batched, count).map(|shape| shape.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(&[-1], false, 5), some("[5]"));
        assert_eq!(of(&[-1], true, 5), some("[1,5]"));
        assert_eq!(of(&[2], true, 6), some("[3,2]"));
        assert_eq!(of(&[-1, 3, -1], false, 12), some("[1,3,4]"));
        assert_eq!(of(&[-1], false, 0), some("[0]"));
        assert_eq!(of(&[], false, 1), some("[]"));
        assert_eq!(of(&[2], false, 3), None);
        assert_eq!(of(&[2], false, 4), None);
        assert_eq!(of(&[0, -1], false, 0), None);
        assert_eq!(of(&[], false, 2), None);
    }

    #[test]
    fn wrong_requests_are_refused_in_tritons_words() {
        for (text, want) in [
            (
                r#"{"PROMPT": 1}"#,
                "attempt to access JSON non-string as string",
            ),
            (
                r#"{"PROMPT": {"a": "b"}}"#,
                "attempt to access JSON non-string as string",
            ),
            (
                r#"{"PROMPT": [["a"]]}"#,
                "attempt to access JSON non-string as string",
            ),
            (
                r#"{"STREAM": "false"}"#,
                "attempt to access JSON non-boolean as boolean",
            ),
            (
                r#"{"PROMPT": "a", "PROMPT": "b"}"#,
                "input 'PROMPT' already exists in request",
            ),
            (
                r#"{"N": [1, 2, 3]}"#,
                "can not convert input 'N' to tensor with proper shape",
            ),
            (r#"{"x": {"y": 1}}"#, "parameter 'x' has invalid type."),
            (r#"{"x": null}"#, "parameter 'x' has invalid type."),
            (
                r#"{"parameters": 1}"#,
                "Expected JSON object for keyword: 'parameters'",
            ),
            (
                r#"{"parameters": {"nested": {"twice": 1}}}"#,
                "Converting keyword: 'parameters': parameter 'nested' has invalid type.",
            ),
            (
                r#"{"x": 1, "parameters": {"x": 2}}"#,
                "parameter 'x' is given twice",
            ),
            (r#"{"triton_x": 1}"#, "reserved"),
            (r#"{"id": 1}"#, "expected"),
            (r#"{"id": "a", "id": "b"}"#, "'id' is given twice"),
            ("[]", "at line 1 column"),
            ("{} x", "at line 1 column"),
        ] {
            let message = refusal(text);
            assert!(message.contains(want), "{text}: {message}");
        }
    }

    #[test]
    fn numbers_that_grow_beyond_the_limit_are_refused() {
        let limits = Limits {
            json_byte_size: 16,
            ..Limits::default()
        };
        let inputs = [
            ("A", Datatype::Fp64, &[-1][..]),
            ("B", Datatype::Fp64, &[-1]),
        ];
        let config = model_config(0, &inputs);
        let read = |text: &str| parse_generate_request(text.as_bytes(), &config, &limits);
        assert!(read(r#"{"A": [1], "B": [1]}"#).is_ok());
        for text in [r#"{"A": [1], "B": [1,2]}"#, r#"{"A": [1,2,3]}"#] {
            let error = read(text).unwrap_err();
            let want = " bytes exceeds the maximum allowed input size of 16";
            assert!(error.message().contains(want), "{error}");
        }
    }
}
