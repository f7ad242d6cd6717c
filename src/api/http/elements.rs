//! The `data` of a JSON tensor: nested or flat, straight into little-endian bytes.

use std::fmt::Display;

use half::{bf16, f16};
use jiter::{NumberInt, Peek};

use super::{decimal::read_run, floats::Float, reader::Reader};
use crate::{
    error::{Error, Result},
    tensor::{Datatype, Shape, push_element},
};

/// Reads a tensor's elements from an array at `depth`.
///
/// # Errors
/// `InvalidArgument` for a wrong number of elements, a value that `datatype` does not have, or more
/// than `byte_limit` bytes.
pub(super) fn read(
    reader: &mut Reader<'_>,
    depth: usize,
    datatype: Datatype,
    shape: &Shape,
    byte_limit: usize,
) -> Result<Vec<u8>> {
    let expected = shape.element_count().ok_or_else(|| {
        reader.refuse(&format!(
            "the shape {shape} causes total element count to exceed maximum size of {}",
            i64::MAX
        ))
    })?;
    let element_byte_size = datatype.element_byte_size().unwrap_or(4);
    let byte_size = expected.checked_mul(element_byte_size);
    let byte_size = byte_size
        .filter(|&byte_size| i64::try_from(byte_size).is_ok())
        .ok_or_else(|| {
            reader.refuse(&format!(
                "byte size overflow for input: {expected} elements of {element_byte_size} bytes \
                 exceed maximum allowed size ({})",
                i64::MAX
            ))
        })?;
    // An element takes a digit and a comma at least; this bounds what is allocated below.
    if expected > reader.remaining() / 2 + 1 {
        return Err(mismatch(expected, "fewer"));
    }
    crate::api::request::within("bytes of a JSON tensor", byte_size, byte_limit)?;
    let mut elements = Elements {
        bytes: Vec::with_capacity(byte_size),
        count: 0,
        expected,
        form: Form::Nested,
    };
    elements.read_all(reader, depth, datatype)?;
    if elements.count < expected {
        return Err(mismatch(expected, elements.count));
    }
    Ok(elements.bytes)
}

/// Reads one element, or a flat array at `depth` of any number of them. Returns their bytes and
/// their number; `None` if they have more than `byte_limit` bytes.
///
/// # Errors
/// `InvalidArgument` for a value that `datatype` does not have.
pub(super) fn read_flat(
    reader: &mut Reader<'_>,
    depth: usize,
    datatype: Datatype,
    byte_limit: usize,
) -> Result<Option<(Vec<u8>, usize)>> {
    let mut elements = Elements {
        bytes: Vec::new(),
        count: 0,
        expected: usize::MAX,
        form: Form::Flat { byte_limit },
    };
    match elements.read_all(reader, depth, datatype) {
        Ok(()) => Ok(Some((elements.bytes, elements.count))),
        Err(_) if elements.bytes.len() > byte_limit => Ok(None),
        Err(error) => Err(error),
    }
}

struct Elements {
    bytes: Vec<u8>,
    count: usize,
    expected: usize,
    form: Form,
}

/// How the elements are written.
#[derive(Clone, Copy)]
enum Form {
    /// In an array, or in arrays of arrays.
    Nested,
    /// Alone, or in one array; of so many bytes at most.
    Flat { byte_limit: usize },
}

impl Elements {
    fn read_all(
        &mut self,
        reader: &mut Reader<'_>,
        depth: usize,
        datatype: Datatype,
    ) -> Result<()> {
        match datatype {
            Datatype::Bool => self.read(reader, depth, &one(boolean)),
            Datatype::Uint8 => self.read(reader, depth, &one(integer::<u8>)),
            Datatype::Uint16 => self.read(reader, depth, &one(integer::<u16>)),
            Datatype::Uint32 => self.read(reader, depth, &one(integer::<u32>)),
            Datatype::Uint64 => self.read(reader, depth, &one(integer::<u64>)),
            Datatype::Int8 => self.read(reader, depth, &one(integer::<i8>)),
            Datatype::Int16 => self.read(reader, depth, &one(integer::<i16>)),
            Datatype::Int32 => self.read(reader, depth, &one(integer::<i32>)),
            Datatype::Int64 => self.read(reader, depth, &one(integer::<i64>)),
            Datatype::Fp16 => self.read(reader, depth, &floats::<f16>),
            Datatype::Bf16 => self.read(reader, depth, &floats::<bf16>),
            Datatype::Fp32 => self.read(reader, depth, &floats::<f32>),
            Datatype::Fp64 => self.read(reader, depth, &floats::<f64>),
            Datatype::Bytes => self.read(reader, depth, &one(text)),
        }
    }

    /// `element` reads one element or more, but no more than it is told, and says how many.
    fn read(
        &mut self,
        reader: &mut Reader<'_>,
        depth: usize,
        element: &impl Fn(&mut Reader<'_>, Peek, &mut Vec<u8>, usize) -> Result<usize>,
    ) -> Result<()> {
        let Form::Flat { byte_limit } = self.form else {
            return self.array(reader, depth, element);
        };
        let mut one = |reader: &mut Reader<'_>, peek| {
            self.count += element(reader, peek, &mut self.bytes, 1)?;
            crate::api::request::within("bytes of a JSON tensor", self.bytes.len(), byte_limit)
        };
        match reader.peek()? {
            Peek::Array => reader.array(depth, one),
            peek => one(reader, peek),
        }
    }

    /// Reads an array of elements or of such arrays.
    fn array(
        &mut self,
        reader: &mut Reader<'_>,
        depth: usize,
        element: &impl Fn(&mut Reader<'_>, Peek, &mut Vec<u8>, usize) -> Result<usize>,
    ) -> Result<()> {
        reader.array(depth, |reader, peek| {
            if peek == Peek::Array {
                return self.array(reader, depth + 1, element);
            }
            let due = self.expected.saturating_sub(self.count);
            if due == 0 {
                return Err(mismatch(self.expected, "more"));
            }
            self.count += element(reader, peek, &mut self.bytes, due)?;
            Ok(())
        })
    }
}

fn mismatch(expected: usize, actual: impl Display) -> Error {
    Error::invalid_argument(
        "element_count",
        format!(
            "Unable to parse 'data': Shape does not match true shape of 'data' field: expected \
             {expected} elements, got {actual}"
        ),
    )
}

/// A reader of one element at a time.
fn one(
    element: impl Fn(&mut Reader<'_>, Peek, &mut Vec<u8>) -> Result<()>,
) -> impl Fn(&mut Reader<'_>, Peek, &mut Vec<u8>, usize) -> Result<usize> {
    move |reader, peek, bytes, _| element(reader, peek, bytes).map(|()| 1)
}

fn boolean(reader: &mut Reader<'_>, peek: Peek, bytes: &mut Vec<u8>) -> Result<()> {
    let value = match peek {
        Peek::True | Peek::False => {
            let value = reader.jiter.known_bool(peek);
            u8::from(value.map_err(|error| reader.fault(&error))?)
        }
        peek if peek.is_num() => match reader.number_text(peek)? {
            "0" => 0,
            "1" => 1,
            _ => return Err(wrong_type(reader, "BOOL")),
        },
        _ => return Err(wrong_type(reader, "BOOL")),
    };
    bytes.push(value);
    Ok(())
}

fn text(reader: &mut Reader<'_>, peek: Peek, bytes: &mut Vec<u8>) -> Result<()> {
    if peek != Peek::String {
        return Err(wrong_type(reader, "BYTES"));
    }
    match reader.jiter.known_str() {
        // The text is shorter than the request, and that is far below the 4 GiB of an element.
        Ok(text) => push_element(bytes, text.as_bytes())
            .ok_or_else(|| Error::invalid_argument("element_too_large", "element is too large")),
        Err(error) => Err(reader.fault(&error)),
    }
}

/// An integer datatype.
trait Integer: TryFrom<i64> + TryFrom<i128> {
    const NAME: &str;
    fn push(self, bytes: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty => $datatype:ident),* $(,)?) => {
        $(impl Integer for $integer {
            const NAME: &str = Datatype::$datatype.name();
            fn push(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

integers! {
    u8 => Uint8,
    u16 => Uint16,
    u32 => Uint32,
    u64 => Uint64,
    i8 => Int8,
    i16 => Int16,
    i32 => Int32,
    i64 => Int64,
}

fn integer<T: Integer>(reader: &mut Reader<'_>, peek: Peek, bytes: &mut Vec<u8>) -> Result<()> {
    if !peek.is_num() {
        return Err(wrong_type(reader, T::NAME));
    }
    let start = reader.jiter.current_index();
    if let Ok(NumberInt::Int(value)) = reader.jiter.known_int(peek) {
        let value = T::try_from(value).map_err(|_| {
            let text = String::from_utf8_lossy(reader.jiter.slice_to_current(start));
            out_of_range(reader, &text, T::NAME)
        })?;
        value.push(bytes);
        return Ok(());
    }
    // Longer than the fast path takes, or not an integer at all.
    let text = reader.number_text(peek)?;
    let value = text
        .parse::<i128>()
        .ok()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| out_of_range(reader, text, T::NAME))?;
    value.push(bytes);
    Ok(())
}

/// Reads as many as there are of plain form, and otherwise one of any.
fn floats<T: Float>(
    reader: &mut Reader<'_>,
    peek: Peek,
    bytes: &mut Vec<u8>,
    most: usize,
) -> Result<usize> {
    if most > 1 && peek.is_num() {
        let run = read_run::<T>(reader.rest(), most, bytes);
        if run.count > 0 {
            reader.advance(run.end);
            return Ok(run.count);
        }
    }
    float::<T>(reader, peek, bytes).map(|()| 1)
}

fn float<T: Float>(reader: &mut Reader<'_>, peek: Peek, bytes: &mut Vec<u8>) -> Result<()> {
    if !peek.is_num() {
        return Err(wrong_type(reader, T::NAME));
    }
    let start = reader.jiter.current_index();
    let value = reader.jiter.known_float(peek);
    let value = value.map_err(|error| reader.fault(&error))?;
    let text = reader.jiter.slice_to_current(start);
    // Infinity is only taken from who writes it, not from digits beyond the range.
    let overflow = value.is_infinite() && text.last() != Some(&b'y');
    if overflow || T::push(value, bytes).is_none() {
        return Err(out_of_range(
            reader,
            &String::from_utf8_lossy(text),
            T::NAME,
        ));
    }
    Ok(())
}

/// In Triton's words, and with the datatype.
fn wrong_type(reader: &Reader<'_>, datatype: &str) -> Error {
    let (not, wanted) = match datatype {
        "BOOL" => ("boolean", "boolean"),
        "BYTES" => ("string", "string"),
        name if name.starts_with("UINT") => ("unsigned-integer", "unsigned-integer"),
        name if name.starts_with("INT") => ("signed-integer", "signed-integer"),
        _ => ("number", "double"),
    };
    reader.refuse(&format!(
        "attempt to access JSON non-{not} as {wanted}: the value is not one of datatype {datatype}"
    ))
}

fn out_of_range(reader: &Reader<'_>, value: &str, datatype: &str) -> Error {
    reader.refuse(&format!(
        "value {} does not fit datatype {datatype}",
        crate::api::excerpt(value)
    ))
}
