//! The floating-point datatypes, as JSON's numbers become them.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    decimal::{Decimal, INVERSE_POWERS},
    decimal_batch::{Batch, MOST},
};
use crate::tensor::Datatype;

/// Bits that a double's fraction has more than a single's.
const DROPPED_BITS: u32 = 29;
/// How near to the middle between two singles a double may be that is not quite exact.
const MARGIN: u64 = 16;

/// A floating-point datatype.
pub(super) trait Float {
    /// Its name.
    const NAME: &str;

    /// Appends `value`, rounded; `None` if it is finite but too large.
    fn push(value: f64, bytes: &mut Vec<u8>) -> Option<()>;

    /// A double that is rounded to the same element as the nearest double to that number is; `None`
    /// if it cannot be had quickly.
    fn quick(number: &Decimal) -> Option<f64> {
        number.exact()
    }

    /// Appends all of them; nothing if one takes longer.
    fn append(batch: &Batch, bytes: &mut Vec<u8>) -> bool {
        let before = bytes.len();
        for (whole, places) in batch.numbers() {
            let value = Self::quick(&Decimal::new(whole, places));
            if value.and_then(|value| Self::push(value, bytes)).is_none() {
                bytes.truncate(before);
                return false;
            }
        }
        true
    }
}

macro_rules! floats {
    ($($float:ty => $datatype:ident, $round:expr $(, $quick:expr, $append:expr)?);* $(;)?) => {
        $(impl Float for $float {
            const NAME: &str = Datatype::$datatype.name();
            fn push(value: f64, bytes: &mut Vec<u8>) -> Option<()> {
                let rounded: $float = $round(value);
                if rounded.is_infinite() && value.is_finite() {
                    return None;
                }
                bytes.extend_from_slice(&rounded.to_le_bytes());
                Some(())
            }
            $(fn quick(number: &Decimal) -> Option<f64> {
                $quick(number)
            }
            fn append(batch: &Batch, bytes: &mut Vec<u8>) -> bool {
                $append(batch, bytes)
            })?
        })*
    };
}

#[allow(clippy::cast_possible_truncation)] // rounds; overflow becomes infinity, which is refused
fn to_f32(value: f64) -> f32 {
    value as f32
}

floats! {
    f16 => Fp16, f16::from_f64, Decimal::exact, append_halves::<f16>;
    bf16 => Bf16, bf16::from_f64, Decimal::exact, append_halves::<bf16>;
    f32 => Fp32, to_f32, quick_single, append_singles;
    f64 => Fp64, std::convert::identity;
}

/// A double near the number, unless the exact one might be rounded to another single.
fn quick_single(number: &Decimal) -> Option<f64> {
    let near = |value: &f64| !is_near_middle(*value) && value.abs() >= f64::from(f32::MIN_POSITIVE);
    number.near().filter(near).or_else(|| number.exact())
}

/// Whether the double is about in the middle between two singles of the normal range.
fn is_near_middle(value: f64) -> bool {
    let dropped = value.to_bits() & ((1 << DROPPED_BITS) - 1);
    dropped.abs_diff(1 << (DROPPED_BITS - 1)) <= MARGIN
}

/// As [`quick_single`], for all of a batch, whose numbers are in the normal range, or zero.
fn append_singles(batch: &Batch, bytes: &mut Vec<u8>) -> bool {
    let mut singles = [[0; 4]; MOST];
    let mut is_doubtful = false;
    for ((whole, places), single) in batch.numbers().zip(&mut singles) {
        let power = INVERSE_POWERS.get(usize::from(places)).copied();
        let value = whole as f64 * power.unwrap_or(f64::NAN);
        is_doubtful |= is_near_middle(value);
        *single = to_f32(value).to_le_bytes();
    }
    let read = singles.as_flattened().get(..4 * batch.count);
    if let (Some(read), false) = (read, is_doubtful) {
        bytes.extend_from_slice(read);
        return true;
    }
    false
}

/// Halves of either kind, converted together, for which processors may have an instruction.
fn append_halves<H: Half>(batch: &Batch, bytes: &mut Vec<u8>) -> bool {
    let mut values = [0.0; MOST];
    let mut is_exact = true;
    for ((whole, places), value) in batch.numbers().zip(&mut values) {
        let exact = Decimal::new(whole, places).exact();
        is_exact &= exact.is_some();
        *value = exact.unwrap_or_default();
    }
    let (halves, fit) = H::all(&values);
    let read = halves.as_flattened().get(..2 * batch.count);
    if let (Some(read), true) = (read, is_exact && fit) {
        bytes.extend_from_slice(read);
        return true;
    }
    false
}

/// A float of two bytes.
trait Half {
    /// These, rounded, and whether none is too large.
    fn all(values: &[f64; MOST]) -> ([[u8; 2]; MOST], bool);
}

macro_rules! halves {
    ($($half:ty),*) => {
        $(impl Half for $half {
            fn all(values: &[f64; MOST]) -> ([[u8; 2]; MOST], bool) {
                let mut halves = [<$half>::ZERO; MOST];
                halves.convert_from_f64_slice(values);
                let fit = halves.iter().all(|half| half.is_finite());
                (halves.map(<$half>::to_le_bytes), fit)
            }
        })*
    };
}

halves!(f16, bf16);
