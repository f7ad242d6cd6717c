//! Tensors as every room passes them: datatype, shape, bytes. Knows no engine and no device
//! driver; memory of any kind looks the same from here.

mod bytes_tensor;
mod dtype;
mod floats;
mod memory;
mod shape;
#[cfg(test)]
mod tests;
mod top_k;
#[cfg(test)]
mod top_k_tests;

pub use self::{
    bytes_tensor::{BytesTensor, push_element},
    dtype::Datatype,
    floats::floats,
    memory::{Buffer, Memory, MemoryKind},
    shape::Shape,
    top_k::{Ranked, top_k},
};

/// A tensor: row-major, little-endian; [`Datatype::Bytes`] elements are a `u32` length and that
/// many bytes each.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Element type.
    pub datatype: Datatype,
    /// Dimensions, batch dimension included; never negative in a tensor that holds data.
    pub shape: Shape,
    /// The data.
    pub data: Buffer,
}
