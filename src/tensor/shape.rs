//! Shapes: the one place where dimensions are multiplied, always checked.

use std::{fmt, ops::Deref};

use smallvec::SmallVec;

use super::Datatype;

/// Dimensions, outermost first. `-1` stands for "any" in a model's signature; the shape of a
/// tensor that holds data has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[i64; 6]>);

impl Shape {
    /// A shape of these dimensions.
    pub fn new(dims: impl IntoIterator<Item = i64>) -> Self {
        Self(dims.into_iter().collect())
    }

    /// Product of the dimensions (1 for a scalar); `None` on a negative dimension or overflow.
    pub fn element_count(&self) -> Option<usize> {
        // A zero anywhere makes the tensor empty, however large its other dimensions are.
        let mut count: usize = 1;
        let mut empty = false;
        for &dim in &self.0 {
            let dim = usize::try_from(dim).ok()?;
            if dim == 0 {
                empty = true;
            } else {
                count = count.checked_mul(dim)?;
            }
        }
        Some(if empty { 0 } else { count })
    }

    /// Bytes of a tensor of this shape; `None` on overflow, a negative dimension, or for
    /// [`Datatype::Bytes`], whose size the shape does not tell.
    pub fn byte_size(&self, datatype: Datatype) -> Option<usize> {
        self.element_count()?
            .checked_mul(datatype.element_byte_size()?)
    }

    /// Whether `actual` fits this signature: same rank, equal dimensions, `-1` fits any.
    pub fn accepts(&self, actual: &[i64]) -> bool {
        self.len() == actual.len()
            && self
                .iter()
                .zip(actual)
                .all(|(&want, &got)| want == -1 || want == got)
    }

    /// The shape that a tensor of this shape gets when its signature changes from `from` to `to`:
    /// `to`, its `-1`s replaced in order by the dimensions that stand where `from` has its own.
    /// `None` if this shape does not fit `from`, or the element counts differ.
    pub fn reshaped(&self, from: &Self, to: &Self) -> Option<Self> {
        if !from.accepts(self) {
            return None;
        }
        let mut variable = self
            .iter()
            .zip(from.iter())
            .filter(|&(_, &want)| want == -1)
            .map(|(&got, _)| got);
        let reshaped: Option<Self> = to
            .iter()
            .map(|&dim| {
                if dim == -1 {
                    variable.next()
                } else {
                    Some(dim)
                }
            })
            .collect();
        reshaped.filter(|shape| shape.element_count() == self.element_count())
    }

    /// This shape with `dim` put in front.
    #[must_use]
    pub fn with_leading(&self, dim: i64) -> Self {
        Self(std::iter::once(dim).chain(self.0.iter().copied()).collect())
    }

    /// Replaces dimension `index`; out of range does nothing.
    pub fn set(&mut self, index: usize, dim: i64) {
        if let Some(slot) = self.0.get_mut(index) {
            *slot = dim;
        }
    }
}

impl Deref for Shape {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl FromIterator<i64> for Shape {
    fn from_iter<I: IntoIterator<Item = i64>>(dims: I) -> Self {
        Self::new(dims)
    }
}

impl From<&[i64]> for Shape {
    fn from(dims: &[i64]) -> Self {
        Self(SmallVec::from_slice(dims))
    }
}

/// Triton's notation: `[-1,16]`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}
