//! The largest elements of a row: what classification answers with, and what the kernels of the
//! same purpose are held against.

use std::collections::BinaryHeap;

use half::{bf16, f16};

/// An element that can be ranked: a number.
pub trait Ranked: Copy {
    /// A key that orders as the values do. Equal values, `-0.0` and `0.0` among them, have equal
    /// keys; NaN has the lowest of all.
    fn rank(self) -> u64;
}

/// The `count` largest of `values` (all, if there are fewer), the largest first, each with its
/// index. Of equal values the one with the lower index comes first; NaN comes last. Takes memory
/// for `count` elements, and time for `values` · log `count`.
pub fn top_k<T: Ranked>(values: impl IntoIterator<Item = T>, count: usize) -> Vec<(usize, T)> {
    // A max-heap: the worst of those kept is on top.
    let mut kept = BinaryHeap::new();
    for (index, value) in values.into_iter().enumerate() {
        let place = Place {
            key: !value.rank(),
            index,
            value,
        };
        if kept.len() < count {
            kept.push(place);
        } else if let Some(mut worst) = kept.peek_mut()
            && place < *worst
        {
            *worst = place;
        }
    }
    kept.into_sorted_vec()
        .into_iter()
        .map(|place| (place.index, place.value))
        .collect()
}

/// Where an element stands: better ones are less.
struct Place<T> {
    /// The rank, turned around.
    key: u64,
    index: usize,
    value: T,
}

impl<T> Place<T> {
    fn order(&self) -> (u64, usize) {
        (self.key, self.index)
    }
}

impl<T> PartialEq for Place<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<T> Eq for Place<T> {}

impl<T> PartialOrd for Place<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Place<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// The sign bit of a 64-bit number.
const SIGN: u64 = 1 << 63;

macro_rules! ranked_as {
    ($wide:ty, $rank:expr, [$($narrow:ty),+]) => {
        $(impl Ranked for $narrow {
            fn rank(self) -> u64 {
                $rank(<$wide>::from(self))
            }
        })+
    };
}

ranked_as!(u64, |value: u64| value, [u8, u16, u32, u64]);
ranked_as!(
    i64,
    |value: i64| value.cast_unsigned() ^ SIGN,
    [i8, i16, i32, i64]
);
ranked_as!(f64, rank_of_float, [f16, bf16, f32, f64]);

fn rank_of_float(value: f64) -> u64 {
    if value.is_nan() {
        return 0;
    }
    // Adding a positive zero makes -0.0 one, and leaves everything else as it is.
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}
