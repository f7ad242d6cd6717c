//! The JSON part of an inference answer, written by hand into one buffer; binary tensors are
//! handed on as they are.

use bytes::Bytes;
use half::{bf16, f16};
use smallvec::SmallVec;

use crate::{
    api::{OutputFormats, body::answer_within, shared_memory::StoredOutputs},
    error::{Error, Result},
    inference::{Output, Parameter, Parameters, Response},
    tensor::{BytesTensor, Datatype, Tensor},
};

/// An answer as it goes over the wire.
#[derive(Debug)]
pub(super) struct Written {
    /// The JSON.
    pub(super) json: Vec<u8>,
    /// The binary tensors that follow it, in the order of the outputs.
    pub(super) tensors: SmallVec<[Bytes; 2]>,
    limit: usize,
}

/// What an answer says besides its outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    pub(super) version: u64,
}

/// A guess at the JSON of one output without its data.
const OUTPUT_BYTE_SIZE: usize = 160;

/// Elements that are written before it is looked whether the answer is still within its limit.
const BLOCK: usize = 4096;

/// Writes `response` in at most `limit` bytes, and few more in memory.
///
/// # Errors
/// `InvalidArgument` for an answer that is larger, and for a BYTES output that is wanted as JSON and
/// is not UTF-8; `Internal` for an
/// output that is not in host memory or not what its datatype and shape say.
pub(super) fn write(
    heading: Heading<'_>,
    response: &Response,
    formats: &OutputFormats,
    stored: &StoredOutputs,
    limit: usize,
) -> Result<Written> {
    let mut written = Written {
        json: Vec::with_capacity(OUTPUT_BYTE_SIZE * (1 + response.outputs.len())),
        tensors: SmallVec::new(),
        limit,
    };
    let out = &mut written.json;
    out.push(b'{');
    if !heading.id.is_empty() {
        out.extend_from_slice(b"\"id\":");
        push_string(out, heading.id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"model_name\":");
    push_string(out, heading.model);
    out.extend_from_slice(b",\"model_version\":\"");
    push_integer(out, heading.version);
    out.push(b'"');
    if !response.parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        push_parameters(out, &response.parameters);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            written.json.push(b',');
        }
        written.push_heading(output);
        // Triton's clients take parameters to be a binary tensor's: one in shared memory has none.
        if !stored.holds(index) {
            written.push_data(output, formats.is_binary(index))?;
        }
        written.json.push(b'}');
    }
    written.json.extend_from_slice(b"]}");
    let tensors = written.tensors.iter().map(Bytes::len);
    answer_within(
        tensors.fold(written.json.len(), usize::saturating_add),
        limit,
    )?;
    Ok(written)
}

impl Written {
    fn push_heading(&mut self, output: &Output) {
        let out = &mut self.json;
        let tensor = &output.tensor;
        out.extend_from_slice(b"{\"name\":");
        push_string(out, &output.name);
        out.extend_from_slice(b",\"datatype\":\"");
        out.extend_from_slice(tensor.datatype.name().as_bytes());
        out.extend_from_slice(b"\",\"shape\":");
        push_list(out, tensor.shape.iter(), |out, &dim| push_integer(out, dim));
    }

    fn push_data(&mut self, output: &Output, binary: bool) -> Result<()> {
        let out = &mut self.json;
        let tensor = &output.tensor;
        if binary {
            let bytes = tensor
                .data
                .to_host_bytes()
                .ok_or_else(|| not_on_host(output))?;
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            push_integer(out, bytes.len());
            out.push(b'}');
            self.tensors.push(bytes);
        } else {
            out.extend_from_slice(b",\"data\":");
            push_data(out, tensor, output, self.limit)?;
        }
        Ok(())
    }
}

/// Appends a tensor's elements as a list, to at most `limit` bytes and few more in all.
pub(super) fn push_data(
    out: &mut Vec<u8>,
    tensor: &Tensor,
    output: &Output,
    limit: usize,
) -> Result<()> {
    let bytes = tensor.data.host().ok_or_else(|| not_on_host(output))?;
    let mut data = Data { out, bytes, limit };
    match tensor.datatype {
        Datatype::Bool => data.push(|out, [value]: [u8; 1]| {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }),
        Datatype::Uint8 => data.push(|o, b| push_integer(o, u8::from_le_bytes(b))),
        Datatype::Uint16 => data.push(|o, b| push_integer(o, u16::from_le_bytes(b))),
        Datatype::Uint32 => data.push(|o, b| push_integer(o, u32::from_le_bytes(b))),
        Datatype::Uint64 => data.push(|o, b| push_integer(o, u64::from_le_bytes(b))),
        Datatype::Int8 => data.push(|o, b| push_integer(o, i8::from_le_bytes(b))),
        Datatype::Int16 => data.push(|o, b| push_integer(o, i16::from_le_bytes(b))),
        Datatype::Int32 => data.push(|o, b| push_integer(o, i32::from_le_bytes(b))),
        Datatype::Int64 => data.push(|o, b| push_integer(o, i64::from_le_bytes(b))),
        Datatype::Fp16 => data.push(|o, b| push_f32(o, f16::from_le_bytes(b).into())),
        Datatype::Bf16 => data.push(|o, b| push_f32(o, bf16::from_le_bytes(b).into())),
        Datatype::Fp32 => data.push(|o, b| push_f32(o, f32::from_le_bytes(b))),
        Datatype::Fp64 => data.push(|o, b| push_f64(o, f64::from_le_bytes(b))),
        Datatype::Bytes => data.push_texts(output),
    }
}

/// A tensor's bytes on their way into the JSON.
struct Data<'a> {
    out: &'a mut Vec<u8>,
    bytes: &'a [u8],
    limit: usize,
}

impl Data<'_> {
    fn push<const N: usize>(&mut self, push: impl Fn(&mut Vec<u8>, [u8; N])) -> Result<()> {
        let (elements, _) = self.bytes.as_chunks::<N>();
        // Most numbers are short; the vector grows for those that are not.
        let guess = elements.len().saturating_mul(N + 2);
        self.out.reserve(guess.min(self.limit));
        self.out.push(b'[');
        for (index, block) in elements.chunks(BLOCK).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_items(self.out, block.iter(), |out, element| push(out, *element));
            answer_within(self.out.len(), self.limit)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn push_texts(&mut self, output: &Output) -> Result<()> {
        let out = &mut *self.out;
        out.reserve(self.bytes.len().min(self.limit));
        out.push(b'[');
        for (index, element) in BytesTensor::new(self.bytes).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let element = element.map_err(|()| {
                Error::internal(
                    "malformed_output",
                    format!("output '{}' is not a whole BYTES tensor", output.name),
                )
            })?;
            push_string(out, text(element, output)?);
            answer_within(out.len(), self.limit)?;
        }
        out.push(b']');
        Ok(())
    }
}

fn text<'a>(element: &'a [u8], output: &Output) -> Result<&'a str> {
    std::str::from_utf8(element).map_err(|_| {
        Error::invalid_argument(
            "output_not_utf8",
            format!(
                "output '{}' holds bytes that are not UTF-8 and cannot be written as JSON; request \
                 it with 'binary_data': true",
                output.name
            ),
        )
    })
}

fn push_parameters(out: &mut Vec<u8>, parameters: &Parameters) {
    out.push(b'{');
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push_parameter(out, value);
    }
    out.push(b'}');
}

/// Appends a parameter's value.
pub(super) fn push_parameter(out: &mut Vec<u8>, value: &Parameter) {
    match value {
        Parameter::Bool(value) => {
            out.extend_from_slice(if *value { b"true" } else { b"false" });
        }
        Parameter::Int(value) => push_integer(out, *value),
        Parameter::Uint(value) => push_integer(out, *value),
        Parameter::Double(value) => push_f64(out, *value),
        Parameter::String(value) => push_string(out, value),
    }
}

fn push_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, push: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    push_items(out, items, push);
    out.push(b']');
}

fn push_items<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    push: impl Fn(&mut Vec<u8>, T),
) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, item);
    }
}

pub(super) fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest text that reads back as `value`; NaN and infinities as Triton writes them.
fn push_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        push_f64(out, value.into());
    }
}

fn push_f64(out: &mut Vec<u8>, value: f64) {
    let mut buffer = ryu::Buffer::new();
    let text = if value.is_finite() {
        buffer.format_finite(value)
    } else if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((&byte, after)) = after.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digit = |nibble: u8| HEX[usize::from(nibble & 0xf)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn not_on_host(output: &Output) -> Error {
    Error::internal(
        "output_not_on_host",
        format!("output '{}' is not in host memory", output.name),
    )
}
