//! The elements of floating-point tensors as numbers.

use half::{bf16, f16};

use super::Datatype;

/// The elements of `data`, whole ones only; `None` if `datatype` has no fractions. Every value of these datatypes
/// is an `f64`, too.
pub fn floats(datatype: Datatype, data: &[u8]) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
    Some(match datatype {
        Datatype::Fp16 => Box::new(elements(data).map(|bytes| f16::from_le_bytes(bytes).into())),
        Datatype::Bf16 => Box::new(elements(data).map(|bytes| bf16::from_le_bytes(bytes).into())),
        Datatype::Fp32 => Box::new(elements(data).map(|bytes| f32::from_le_bytes(bytes).into())),
        Datatype::Fp64 => Box::new(elements(data).map(f64::from_le_bytes)),
        _ => return None,
    })
}

fn elements<const SIZE: usize>(data: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    data.as_chunks().0.iter().copied()
}
