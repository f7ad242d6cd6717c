use half::{bf16, f16};
use proptest::prelude::*;

use super::{Ranked, top_k};

fn indices<T: Ranked>(values: &[T], count: usize) -> Vec<usize> {
    top_k(values.iter().copied(), count)
        .into_iter()
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn the_largest_come_first_and_the_lower_index_of_equals() {
    assert_eq!(indices(&[1, 3, 2, 3], 3), [1, 3, 2]);
    assert_eq!(indices(&[5u8, 5, 5], 2), [0, 1]);
    assert_eq!(indices(&[0.0f32, -0.0, 0.0], 3), [0, 1, 2]);
}

#[test]
fn counts_beyond_the_ends() {
    assert_eq!(indices(&[2i8, -1], 9), [0, 1]);
    assert_eq!(indices(&[2i8, -1], 0), [0; 0]);
    assert_eq!(indices::<f64>(&[], 3), [0; 0]);
}

#[test]
fn nan_of_either_sign_comes_last() {
    let values = [f32::NAN, f32::NEG_INFINITY, -f32::NAN, 1.0, f32::INFINITY];
    assert_eq!(indices(&values, 5), [4, 3, 1, 0, 2]);
}

#[test]
fn every_type_keeps_its_extremes() {
    assert_eq!(indices(&[u64::MAX, 0, u64::MAX - 1], 3), [0, 2, 1]);
    assert_eq!(indices(&[i64::MIN, -1, 0, i64::MAX], 4), [3, 2, 1, 0]);
    assert_eq!(indices(&[f64::MIN_POSITIVE, 0.0, -5e-324], 3), [0, 1, 2]);
    let halves = [-1.0f32, 65504.0, 0.5];
    assert_eq!(indices(&halves.map(f16::from_f32), 3), [1, 2, 0]);
    assert_eq!(indices(&halves.map(bf16::from_f32), 3), [1, 2, 0]);
}

proptest! {
    #[test]
    fn equals_a_stable_sort(
        bits in prop::collection::vec(any::<u32>(), 0..64),
        coarse in any::<bool>(),
        count in 0usize..80,
    ) {
        // Coarse values make ties; bit patterns make NaN, subnormals and both zeros.
        let values: Vec<f32> = bits
            .iter()
            .map(|&bits| if coarse { (bits % 4) as f32 } else { f32::from_bits(bits) })
            .collect();
        let mut sorted: Vec<usize> = (0..values.len()).collect();
        sorted.sort_by(|&a, &b| match (values[a].is_nan(), values[b].is_nan()) {
            (false, false) => values[b].partial_cmp(&values[a]).unwrap(),
            (a, b) => a.cmp(&b),
        });
        sorted.truncate(count);
        prop_assert_eq!(indices(&values, count), sorted);
    }
}
