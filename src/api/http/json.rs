//! The JSON part of an inference request.

use smallvec::SmallVec;

use super::{
    json_tensor::{DeclaredData, DeclaredInput, Fields, duplicate, missing},
    reader::Reader,
};
use crate::{
    admission::Limits,
    api::{
        InferRequest,
        request::{OptionName, duplicate_input, json_within, push_output, within},
    },
    error::Result,
};

/// An inference request's JSON, read; its binary tensors are still to be bound
/// ([`bind_tensors`](super::bind_tensors)).
#[derive(Clone, Debug, Default)]
pub struct InferDocument {
    /// The request, without its inputs.
    pub(super) request: InferRequest,
    /// Its inputs, in their order.
    pub(super) inputs: SmallVec<[DeclaredInput; 2]>,
}

impl InferDocument {
    /// Whether a tensor's data is in the JSON.
    pub(super) fn holds_data(&self) -> bool {
        let mut inputs = self.inputs.iter();
        inputs.any(|input| matches!(input.data, DeclaredData::Json(_)))
    }
}

/// Depths of nesting.
const DOCUMENT: usize = 1;
const TENSORS: usize = 2;

/// Bytes that the elements in a JSON text of so many bytes can become: one of a digit and a comma
/// becomes eight. A text that is small does not count, for as many requests as queues hold are small
/// together.
pub(super) fn parsed_byte_size(json_byte_size: usize) -> usize {
    const SMALL: usize = 16 << 10;
    const MOST_GROWTH: usize = 4;
    if json_byte_size <= SMALL {
        return 0;
    }
    json_byte_size.saturating_mul(MOST_GROWTH)
}

/// Reads the JSON part of an inference request.
///
/// # Errors
/// `InvalidArgument` with the field and the place for JSON that is malformed or not an inference
/// request, or that goes beyond `limits`; `Unimplemented` for extensions that this server does not
/// have.
pub fn parse_infer_request(text: &[u8], limits: &Limits) -> Result<InferDocument> {
    json_within(text.len(), limits.json_byte_size)?;
    let mut reader = Reader::new(text, limits);
    let mut parser = Parser {
        limits,
        document: InferDocument::default(),
        seen: [false; 4],
    };
    reader.object(DOCUMENT, Key::of, |reader, key| parser.member(reader, key))?;
    reader.finish()?;
    if !parser.seen[Key::INPUTS] {
        return Err(missing("inputs"));
    }
    let mut document = parser.document;
    document.request.formats.binary_by_default = document.request.options.binary_data_output;
    Ok(document)
}

/// Keys of the document.
#[derive(Clone, Copy)]
enum Key {
    Id,
    Parameters,
    Inputs,
    Outputs,
    Other,
}

impl Key {
    /// The place of `inputs` among the keys seen.
    const INPUTS: usize = 2;

    fn of(key: &str) -> Self {
        match key {
            "id" => Self::Id,
            "parameters" => Self::Parameters,
            "inputs" => Self::Inputs,
            "outputs" => Self::Outputs,
            _ => Self::Other,
        }
    }
}

struct Parser<'l> {
    limits: &'l Limits,
    document: InferDocument,
    /// Which keys came already: `id`, `parameters`, `inputs`, `outputs`.
    seen: [bool; 4],
}

impl Parser<'_> {
    fn member(&mut self, reader: &mut Reader<'_>, key: Key) -> Result<()> {
        match key {
            Key::Id => {
                self.once(0, "id")?;
                self.document.request.id = reader.string("length of 'id'")?;
            }
            Key::Parameters => {
                self.once(1, "parameters")?;
                self.parameters(reader)?;
            }
            Key::Inputs => {
                self.once(Key::INPUTS, "inputs")?;
                reader.array(TENSORS, |reader, _| self.input(reader))?;
            }
            Key::Outputs => {
                self.once(3, "outputs")?;
                let mut names = Vec::new();
                reader.array(TENSORS, |reader, _| self.output(reader, &mut names))?;
                // An empty list asks for all outputs, as does none.
                self.document.request.outputs = Some(names).filter(|names| !names.is_empty());
            }
            Key::Other => {
                reader.skip(TENSORS)?;
            }
        }
        Ok(())
    }

    fn once(&mut self, place: usize, key: &str) -> Result<()> {
        match self.seen.get_mut(place) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(duplicate(key)),
        }
        Ok(())
    }

    fn parameters(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let (limits, mut count) = (self.limits, 0);
        let options = &mut self.document.request.options;
        reader.object(TENSORS, OptionName::new, |reader, name| {
            count += 1;
            within("number of parameters", count, limits.parameters)?;
            if let OptionName::Custom(name) = &name {
                within(
                    "length of a parameter's name",
                    name.len(),
                    limits.text_byte_size,
                )?;
            }
            options.set(name, reader.parameter()?)
        })
    }

    fn input(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let index = self.document.inputs.len();
        within(
            "number of inputs",
            index + 1,
            self.limits.tensors_per_request,
        )?;
        let input = Fields::read(reader, self.limits)
            .and_then(|fields| fields.into_input(reader, self.limits))
            .map_err(|error| error.prefixed(format_args!("inputs[{index}]: ")))?;
        if self
            .document
            .inputs
            .iter()
            .any(|other| other.name == input.name)
        {
            return Err(duplicate_input(&input.name));
        }
        self.document.inputs.push(input);
        Ok(())
    }

    fn output(&mut self, reader: &mut Reader<'_>, names: &mut Vec<String>) -> Result<()> {
        let index = names.len();
        within(
            "number of outputs",
            index + 1,
            self.limits.tensors_per_request,
        )?;
        let fields = Fields::read(reader, self.limits)
            .map_err(|error| error.prefixed(format_args!("outputs[{index}]: ")))?;
        let name = fields
            .name
            .ok_or_else(|| missing("name").prefixed(format_args!("outputs[{index}]: ")))?;
        push_output(names, name)?;
        let request = &mut self.document.request;
        let binary = fields.parameters.binary_data.unwrap_or(false);
        request.formats.listed.push(binary);
        if let Some(count) = fields.parameters.class_count() {
            request.classification.push(index, count);
        }
        let place = fields
            .parameters
            .place
            .finish()
            .map_err(|error| error.prefixed(format_args!("outputs[{index}]: ")))?;
        request
            .shared
            .outputs
            .extend(place.map(|place| (index, place)));
        Ok(())
    }
}
