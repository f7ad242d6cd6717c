//! Elements of tensors, to and from numbers and JSON.

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use serde_json::Value;

use super::Tensor;
use crate::tensor::{BytesTensor, Datatype, push_element};

/// Adds a small number as an element.
pub(super) fn push_number(datatype: Datatype, number: f64, bytes: &mut Vec<u8>) {
    let whole = crate::perf::number::whole(number);
    match datatype {
        Datatype::Fp16 => bytes.extend_from_slice(&f16::from_f64(number).to_le_bytes()),
        Datatype::Bf16 => bytes.extend_from_slice(&bf16::from_f64(number).to_le_bytes()),
        Datatype::Fp32 => bytes.extend_from_slice(&nearest(number).to_le_bytes()),
        Datatype::Fp64 => bytes.extend_from_slice(&number.to_le_bytes()),
        _ => {
            let size = datatype.element_byte_size().unwrap_or(0);
            bytes.extend(whole.to_le_bytes().iter().take(size));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "to the nearest FP32")]
fn nearest(number: f64) -> f32 {
    number as f32
}

/// Adds an element of JSON; arrays in it are flattened.
///
/// # Errors
/// If it is none of that datatype.
pub(in crate::perf) fn push_json(
    datatype: Datatype,
    value: &Value,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    if let Value::Array(values) = value {
        for value in values {
            push_json(datatype, value, bytes)?;
        }
        return Ok(());
    }
    match datatype {
        Datatype::Bytes => {
            let text = value
                .as_str()
                .with_context(|| format!("{value} is no string"))?;
            push_element(bytes, text.as_bytes());
        }
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => {
            let number = value
                .as_f64()
                .with_context(|| format!("{value} is no number"))?;
            push_number(datatype, number, bytes);
        }
        _ => push_whole(datatype, value, bytes)?,
    }
    Ok(())
}

fn push_whole(datatype: Datatype, value: &Value, bytes: &mut Vec<u8>) -> Result<()> {
    let number = match value {
        Value::Bool(value) if datatype == Datatype::Bool => Some(i128::from(*value)),
        Value::Number(number) => {
            (number.as_i64().map(i128::from)).or_else(|| number.as_u64().map(i128::from))
        }
        _ => None,
    };
    let number = number.filter(|number| range(datatype).contains(number));
    let Some(number) = number else {
        bail!("{value} is no {datatype}");
    };
    let size = datatype.element_byte_size().unwrap_or(0);
    bytes.extend(number.to_le_bytes().iter().take(size));
    Ok(())
}

fn range(datatype: Datatype) -> std::ops::RangeInclusive<i128> {
    let (low, high) = match datatype {
        Datatype::Bool => (0, 1),
        Datatype::Uint8 => (0, u8::MAX.into()),
        Datatype::Uint16 => (0, u16::MAX.into()),
        Datatype::Uint32 => (0, u32::MAX.into()),
        Datatype::Uint64 => (0, u64::MAX.into()),
        Datatype::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Datatype::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Datatype::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    low..=high
}

/// A tensor's elements as a flat JSON array.
///
/// # Errors
/// If its datatype has no form in JSON, or a text is not UTF-8.
pub(in crate::perf) fn json_elements(tensor: &Tensor) -> Result<Vec<Value>> {
    let no_form = || format!("{} has no form in JSON", tensor.datatype);
    if tensor.datatype == Datatype::Bytes {
        return BytesTensor::new(&tensor.data)
            .map(|element| {
                let bytes = element.map_err(|()| anyhow::anyhow!("malformed texts"))?;
                Ok(Value::from(std::str::from_utf8(bytes)?))
            })
            .collect();
    }
    let size = tensor.datatype.element_byte_size().with_context(no_form)?;
    let elements = tensor.data.chunks_exact(size);
    elements
        .map(|element| element_json(tensor.datatype, element).with_context(no_form))
        .collect()
}

fn element_json(datatype: Datatype, element: &[u8]) -> Option<Value> {
    Some(match datatype {
        Datatype::Bool => Value::from(element.first() != Some(&0)),
        Datatype::Fp32 => Value::from(f32::from_le_bytes(element.try_into().ok()?)),
        Datatype::Fp64 => Value::from(f64::from_le_bytes(element.try_into().ok()?)),
        Datatype::Uint8 => Value::from(u8::from_le_bytes(element.try_into().ok()?)),
        Datatype::Uint16 => Value::from(u16::from_le_bytes(element.try_into().ok()?)),
        Datatype::Uint32 => Value::from(u32::from_le_bytes(element.try_into().ok()?)),
        Datatype::Uint64 => Value::from(u64::from_le_bytes(element.try_into().ok()?)),
        Datatype::Int8 => Value::from(i8::from_le_bytes(element.try_into().ok()?)),
        Datatype::Int16 => Value::from(i16::from_le_bytes(element.try_into().ok()?)),
        Datatype::Int32 => Value::from(i32::from_le_bytes(element.try_into().ok()?)),
        Datatype::Int64 => Value::from(i64::from_le_bytes(element.try_into().ok()?)),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => return None,
    })
}
