//! Rows of scores. The kernels sum in another order and have an exponential function of their own: their
//! probabilities agree to a few units in the last place for each of a row's elements.

use crate::tensor::top_k;

/// What a row's elements are divided by.
struct Norm {
    largest: f32,
    sum: f32,
}

impl Norm {
    fn of(row: &[f32]) -> Self {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = row.iter().map(|value| (value - largest).exp()).sum();
        Self { largest, sum }
    }

    fn probability(&self, value: f32) -> f32 {
        (value - self.largest).exp() / self.sum
    }
}

/// Replaces a row of scores by their softmax. All are NaN if one is, or if all are infinite.
pub fn softmax(row: &mut [f32]) {
    let norm = Norm::of(row);
    for value in row {
        *value = norm.probability(*value);
    }
}

/// The `count` largest of a row as [`top_k`] finds them, with their softmax over the whole row.
pub fn softmax_top_k(row: &[f32], count: usize) -> Vec<(usize, f32)> {
    let norm = Norm::of(row);
    top_k(row.iter().copied(), count)
        .into_iter()
        .map(|(index, value)| (index, norm.probability(value)))
        .collect()
}
