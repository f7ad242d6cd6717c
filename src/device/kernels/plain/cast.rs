//! Elements of one datatype as those of another.

use half::{bf16, f16};

/// A datatype that can be rounded to.
pub trait FromF32 {
    /// The nearest value, of two the even one; too large is infinite.
    fn from_f32(value: f32) -> Self;
}

impl FromF32 for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl FromF32 for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl FromF32 for bf16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// Writes `from` · `scale` + `offset` into `to`, product and sum rounded once to FP32 and then to the
/// datatype. As many elements as the shorter of them has.
pub fn cast<From: Copy + Into<f32>, To: FromF32>(
    from: &[From],
    to: &mut [To],
    scale: f32,
    offset: f32,
) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = To::from_f32(from.into().mul_add(scale, offset));
    }
}
