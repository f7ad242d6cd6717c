//! One element of `inputs` or `outputs` in a request's JSON.

use std::{num::NonZeroUsize, ops::Range};

use jiter::Peek;
use smallvec::SmallVec;

use super::{elements, reader::Reader};
use crate::{
    admission::Limits,
    api::{
        excerpt,
        request::within,
        shared_memory::{PlaceKey, PlaceParameters},
    },
    error::{Error, Result},
    inference::Parameter,
    shared_memory::Reference,
    tensor::{Datatype, Shape},
};

/// Depths of nesting, the document itself being at 1.
const TENSOR: usize = 3;
const TENSOR_FIELD: usize = 4;

/// An input as the JSON declares it.
#[derive(Clone, Debug)]
pub(super) struct DeclaredInput {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Shape,
    pub(super) data: DeclaredData,
}

/// Where an input's data is.
#[derive(Clone, Debug)]
pub(super) enum DeclaredData {
    /// It was in the JSON; this is its binary form.
    Json(Vec<u8>),
    /// In the binary part, this many bytes.
    Binary(usize),
    /// In shared memory.
    Shared(Reference),
}

/// What an element of `inputs` or `outputs` holds.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    shape: Option<Shape>,
    datatype: Option<Datatype>,
    pub(super) parameters: TensorParameters,
    has_parameters: bool,
    data: Option<Data>,
}

enum Data {
    Read(Vec<u8>),
    /// It came before the fields that say what it is.
    Skipped(Range<usize>),
}

#[derive(Default)]
pub(super) struct TensorParameters {
    pub(super) binary_data: Option<bool>,
    classification: Option<usize>,
    binary_data_size: Option<usize>,
    pub(super) place: PlaceParameters,
}

#[derive(Clone, Copy)]
enum FieldKey {
    Name,
    Shape,
    Datatype,
    Parameters,
    Data,
    Other,
}

impl FieldKey {
    fn of(key: &str) -> Self {
        match key {
            "name" => Self::Name,
            "shape" => Self::Shape,
            "datatype" => Self::Datatype,
            "parameters" => Self::Parameters,
            "data" => Self::Data,
            _ => Self::Other,
        }
    }
}

impl Fields {
    pub(super) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self> {
        let mut fields = Self::default();
        reader.object(TENSOR, FieldKey::of, |reader, key| {
            fields.member(reader, key, limits)
        })?;
        Ok(fields)
    }

    fn member(&mut self, reader: &mut Reader<'_>, key: FieldKey, limits: &Limits) -> Result<()> {
        match key {
            FieldKey::Name => {
                set_once(&mut self.name, "name", || reader.string("length of 'name'"))
            }
            FieldKey::Shape => set_once(&mut self.shape, "shape", || read_shape(reader, limits)),
            FieldKey::Datatype => {
                set_once(&mut self.datatype, "datatype", || read_datatype(reader))
            }
            FieldKey::Parameters => {
                if std::mem::replace(&mut self.has_parameters, true) {
                    return Err(duplicate("parameters"));
                }
                self.parameters.read(reader, limits)
            }
            FieldKey::Data => {
                let known = self.datatype.zip(self.shape.as_ref());
                set_once(&mut self.data, "data", || match known {
                    Some((datatype, shape)) => {
                        let limit = limits.json_byte_size;
                        elements::read(reader, TENSOR_FIELD, datatype, shape, limit).map(Data::Read)
                    }
                    None => reader.skip(TENSOR_FIELD).map(Data::Skipped),
                })
            }
            FieldKey::Other => reader.skip(TENSOR_FIELD).map(drop),
        }
    }

    pub(super) fn into_input(self, reader: &Reader<'_>, limits: &Limits) -> Result<DeclaredInput> {
        let name = self.name.ok_or_else(|| missing("name"))?;
        let datatype = self.datatype.ok_or_else(|| missing("datatype"))?;
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        let place = self.parameters.place.finish()?;
        let data = match (self.data, self.parameters.binary_data_size, place) {
            (Some(Data::Read(bytes)), None, None) => DeclaredData::Json(bytes),
            (Some(Data::Skipped(range)), None, None) => {
                let mut reader = reader.reopen(range);
                let limit = limits.json_byte_size;
                DeclaredData::Json(elements::read(
                    &mut reader,
                    TENSOR_FIELD,
                    datatype,
                    &shape,
                    limit,
                )?)
            }
            (None, Some(byte_size), None) => DeclaredData::Binary(byte_size),
            (None, None, Some(reference)) => DeclaredData::Shared(reference),
            (None, None, None) => return Err(data_sources("no field is set")),
            _ => return Err(data_sources("multiple fields are set")),
        };
        Ok(DeclaredInput {
            name,
            datatype,
            shape,
            data,
        })
    }
}

#[derive(Clone, Copy)]
enum ParameterKey {
    BinaryData,
    BinaryDataSize,
    Place(PlaceKey),
    Classification,
    Other,
}

impl ParameterKey {
    fn of(key: &str) -> Self {
        match key {
            "binary_data" => Self::BinaryData,
            "binary_data_size" => Self::BinaryDataSize,
            "classification" => Self::Classification,
            key => PlaceKey::of(key).map_or(Self::Other, Self::Place),
        }
    }
}

impl TensorParameters {
    /// How many classes an output is wanted as; as in Triton, 0 asks for the output as it is.
    pub(super) fn class_count(&self) -> Option<NonZeroUsize> {
        self.classification.and_then(NonZeroUsize::new)
    }

    fn read(&mut self, reader: &mut Reader<'_>, limits: &Limits) -> Result<()> {
        let mut count = 0;
        reader.object(TENSOR_FIELD, ParameterKey::of, |reader, key| {
            count += 1;
            within("number of parameters", count, limits.parameters)?;
            match key {
                ParameterKey::BinaryData => set_once(&mut self.binary_data, "binary_data", || {
                    match reader.parameter()? {
                        Parameter::Bool(value) => Ok(value),
                        _ => Err(reader.refuse("'binary_data' must be a boolean")),
                    }
                }),
                ParameterKey::BinaryDataSize => {
                    set_once(&mut self.binary_data_size, "binary_data_size", || {
                        reader.unsigned("'binary_data_size'")
                    })
                }
                ParameterKey::Place(key) => self.place.set(key, reader.parameter()?),
                ParameterKey::Classification => {
                    set_once(&mut self.classification, "classification", || {
                        reader.unsigned("'classification'")
                    })
                }
                ParameterKey::Other => reader.parameter().map(drop),
            }
        })
    }
}

fn read_shape(reader: &mut Reader<'_>, limits: &Limits) -> Result<Shape> {
    let mut dims = SmallVec::<[i64; 6]>::new();
    reader.array(TENSOR_FIELD, |reader, peek: Peek| {
        within(
            "number of dimensions",
            dims.len() + 1,
            limits.dims_per_tensor,
        )?;
        let text = if peek.is_num() {
            reader.number_text(peek)?
        } else {
            ""
        };
        match text.parse() {
            Ok(dim) if dim >= 0 => dims.push(dim),
            _ => return Err(reader.refuse("'shape' must hold non-negative 64-bit integers")),
        }
        Ok(())
    })?;
    Ok(Shape::new(dims))
}

fn read_datatype(reader: &mut Reader<'_>) -> Result<Datatype> {
    reader.text("length of 'datatype'", |name| {
        Datatype::from_name(name).ok_or_else(|| {
            Error::invalid_argument("datatype", format!("unknown datatype '{}'", excerpt(name)))
        })
    })?
}

fn set_once<T>(slot: &mut Option<T>, key: &str, read: impl FnOnce() -> Result<T>) -> Result<()> {
    if slot.is_some() {
        return Err(duplicate(key));
    }
    *slot = Some(read().map_err(|error| error.prefixed(format_args!("'{key}': ")))?);
    Ok(())
}

pub(super) fn duplicate(key: &str) -> Error {
    Error::invalid_argument("duplicate_key", format!("'{key}' is given twice"))
}

pub(super) fn missing(key: &str) -> Error {
    Error::invalid_argument("missing_key", format!("'{key}' is missing"))
}

fn data_sources(but: &str) -> Error {
    Error::invalid_argument(
        "input_data",
        format!(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in \
             'parameters', 'shared_memory_region' in 'parameters'. But {but}"
        ),
    )
}
