//! Typed tensor contents: one protobuf list per family of datatypes, turned into the bytes that
//! `raw_input_contents` would have held.

use crate::{
    error::{Error, Result},
    proto::inference::InferTensorContents,
    tensor::{Datatype, push_element},
};

/// The bytes of `contents` as `datatype`.
///
/// # Errors
/// `InvalidArgument` if another field than the datatype's is filled, for FP16 and BF16, which have
/// none, and for integers that the datatype cannot hold.
pub(super) fn to_bytes(contents: &InferTensorContents, datatype: Datatype) -> Result<Vec<u8>> {
    let Some(field) = Field::of(datatype) else {
        return Err(refuse(format!(
            "typed contents of datatype {datatype} are not supported, use raw_input_contents"
        )));
    };
    if let Some(other) = Field::ALL
        .into_iter()
        .find(|&other| other != field && other.length(contents) > 0)
    {
        return Err(refuse(format!(
            "{} is not the field for datatype {datatype}, expected {}",
            other.name(),
            field.name()
        )));
    }
    Ok(match datatype {
        Datatype::Bool => contents
            .bool_contents
            .iter()
            .map(|&b| u8::from(b))
            .collect(),
        Datatype::Int8 => narrow(&contents.int_contents, i8::to_le_bytes, datatype)?,
        Datatype::Int16 => narrow(&contents.int_contents, i16::to_le_bytes, datatype)?,
        Datatype::Int32 => copy(&contents.int_contents, i32::to_le_bytes),
        Datatype::Int64 => copy(&contents.int64_contents, i64::to_le_bytes),
        Datatype::Uint8 => narrow(&contents.uint_contents, u8::to_le_bytes, datatype)?,
        Datatype::Uint16 => narrow(&contents.uint_contents, u16::to_le_bytes, datatype)?,
        Datatype::Uint32 => copy(&contents.uint_contents, u32::to_le_bytes),
        Datatype::Uint64 => copy(&contents.uint64_contents, u64::to_le_bytes),
        Datatype::Fp32 => copy(&contents.fp32_contents, f32::to_le_bytes),
        Datatype::Fp64 => copy(&contents.fp64_contents, f64::to_le_bytes),
        Datatype::Bytes | Datatype::Fp16 | Datatype::Bf16 => elements(contents)?,
    })
}

/// Whether any field is filled.
pub(super) fn is_filled(contents: &InferTensorContents) -> bool {
    Field::ALL
        .into_iter()
        .any(|field| field.length(contents) > 0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Bool,
    Int,
    Int64,
    Uint,
    Uint64,
    Fp32,
    Fp64,
    Bytes,
}

impl Field {
    const ALL: [Self; 8] = [
        Self::Bool,
        Self::Int,
        Self::Int64,
        Self::Uint,
        Self::Uint64,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    fn of(datatype: Datatype) -> Option<Self> {
        Some(match datatype {
            Datatype::Bool => Self::Bool,
            Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Self::Int,
            Datatype::Int64 => Self::Int64,
            Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Self::Uint,
            Datatype::Uint64 => Self::Uint64,
            Datatype::Fp32 => Self::Fp32,
            Datatype::Fp64 => Self::Fp64,
            Datatype::Bytes => Self::Bytes,
            Datatype::Fp16 | Datatype::Bf16 => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool_contents",
            Self::Int => "int_contents",
            Self::Int64 => "int64_contents",
            Self::Uint => "uint_contents",
            Self::Uint64 => "uint64_contents",
            Self::Fp32 => "fp32_contents",
            Self::Fp64 => "fp64_contents",
            Self::Bytes => "bytes_contents",
        }
    }

    fn length(self, contents: &InferTensorContents) -> usize {
        match self {
            Self::Bool => contents.bool_contents.len(),
            Self::Int => contents.int_contents.len(),
            Self::Int64 => contents.int64_contents.len(),
            Self::Uint => contents.uint_contents.len(),
            Self::Uint64 => contents.uint64_contents.len(),
            Self::Fp32 => contents.fp32_contents.len(),
            Self::Fp64 => contents.fp64_contents.len(),
            Self::Bytes => contents.bytes_contents.len(),
        }
    }
}

fn copy<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn narrow<T, U, const N: usize>(
    values: &[T],
    to_bytes: fn(U) -> [u8; N],
    datatype: Datatype,
) -> Result<Vec<u8>>
where
    T: Copy + std::fmt::Display,
    U: TryFrom<T>,
{
    let mut bytes = Vec::with_capacity(values.len().saturating_mul(N));
    for &value in values {
        let narrowed = U::try_from(value)
            .map_err(|_| refuse(format!("value {value} does not fit datatype {datatype}")))?;
        bytes.extend_from_slice(&to_bytes(narrowed));
    }
    Ok(bytes)
}

fn elements(contents: &InferTensorContents) -> Result<Vec<u8>> {
    let elements = &contents.bytes_contents;
    let byte_size = elements.iter().map(|element| element.len() + 4).sum();
    let mut bytes = Vec::with_capacity(byte_size);
    for element in elements {
        push_element(&mut bytes, element)
            .ok_or_else(|| refuse("a BYTES element must be shorter than 4 GiB".to_owned()))?;
    }
    Ok(bytes)
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("tensor_contents", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(values: &[i32]) -> InferTensorContents {
        InferTensorContents {
            int_contents: values.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn narrow_integers_are_checked() {
        assert_eq!(
            to_bytes(&ints(&[-1, 127]), Datatype::Int8).unwrap(),
            [255, 127]
        );
        assert_eq!(to_bytes(&ints(&[258]), Datatype::Int16).unwrap(), [2, 1]);
        let error = to_bytes(&ints(&[128]), Datatype::Int8).unwrap_err();
        assert_eq!(error.message(), "value 128 does not fit datatype INT8");
    }

    #[test]
    fn each_datatype_has_its_own_field() {
        for datatype in Datatype::ALL {
            let taken = to_bytes(&ints(&[1]), datatype).is_ok();
            let own = matches!(datatype, Datatype::Int8 | Datatype::Int16 | Datatype::Int32);
            assert_eq!(taken, own, "{datatype}");
        }
        let mut two = ints(&[1]);
        two.fp32_contents.push(1.0);
        assert!(to_bytes(&two, Datatype::Int32).is_err());
    }

    #[test]
    fn byte_strings_get_their_lengths() {
        let contents = InferTensorContents {
            bytes_contents: vec!["ab".into(), "".into()],
            ..Default::default()
        };
        assert_eq!(
            to_bytes(&contents, Datatype::Bytes).unwrap(),
            b"\x02\0\0\0ab\0\0\0\0"
        );
        assert!(is_filled(&contents) && !is_filled(&InferTensorContents::default()));
    }
}
