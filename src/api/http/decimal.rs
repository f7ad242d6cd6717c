//! Runs of decimal numbers with commas between them, as most JSON tensors are, straight from text to
//! elements. What is no number, or does not fit, is left to the careful reader with its errors.

use super::{
    decimal_batch::{Batch, MOST, first_digits},
    floats::Float,
};

/// The most digits whose number always fits 64 bits.
const EXACT_DIGITS: usize = 19;
/// The powers of ten that a double has exactly go so far.
const EXACT_POWER: i32 = 22;
/// Whole numbers up to here are exact as doubles.
const EXACT_WHOLE: u64 = 1 << 53;

const WHOLE_POWERS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
pub(super) const INVERSE_POWERS: [f64; 23] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
    1e-15, 1e-16, 1e-17, 1e-18, 1e-19, 1e-20, 1e-21, 1e-22,
];

/// What was read of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Numbers that were appended.
    pub(super) count: usize,
    /// Where the last of them ends.
    pub(super) end: usize,
}

/// Appends the numbers at the start of `text`, `most` at most, until one is not plain or does not fit.
/// Commas between them are passed over, with white space after them; one after the last is not.
pub(super) fn read_run<T: Float>(text: &[u8], most: usize, bytes: &mut Vec<u8>) -> Run {
    let mut run = Run::default();
    let mut begin = 0;
    while run.count < most {
        let batch = Batch::read(text, begin, MOST.min(most - run.count));
        if batch.count > 0 && T::append(&batch, bytes) {
            run.count += batch.count;
            run.end = batch.end;
            begin = batch.next;
            continue;
        }
        for _ in 0..batch.count.max(1) {
            let Some(end) = append_one::<T>(text, begin, bytes) else {
                return run;
            };
            run.count += 1;
            run.end = end;
            match next_number(text, end) {
                Some(next) => begin = next,
                None => return run,
            }
        }
    }
    run
}

/// Appends the number at `begin`; where it ends.
fn append_one<T: Float>(text: &[u8], begin: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    let (number, end) = Decimal::read(text, begin)?;
    let value = T::quick(&number).or_else(|| number.parse(text.get(begin..end)?))?;
    if !value.is_finite() {
        return None;
    }
    T::push(value, bytes)?;
    Some(end)
}

/// Where what follows a comma at `at` begins.
fn next_number(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b',') {
        return None;
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
    let mut next = at + 1;
    while text.get(next).is_some_and(is_space) {
        next += 1;
    }
    Some(next)
}

/// A number as it is written: `whole * 10^exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    whole: u64,
    exponent: i32,
    is_negative: bool,
    /// Whether all digits are in `whole`.
    is_complete: bool,
}

impl Decimal {
    /// The number at `at`, and where it ends; `None` if there is none that JSON has.
    fn read(text: &[u8], at: usize) -> Option<(Self, usize)> {
        let is_negative = text.get(at) == Some(&b'-');
        let first = at + usize::from(is_negative);
        let (mut whole, mut end) = digits(text, first, 0);
        let mut digit_count = end - first;
        if digit_count == 0 || (digit_count > 1 && text.get(first) == Some(&b'0')) {
            return None;
        }
        if whole == 0 {
            digit_count = 0;
        }
        let mut exponent = 0;
        if text.get(end) == Some(&b'.') {
            let point = end + 1;
            (whole, end) = digits(text, point, whole);
            let places = end - point;
            if places == 0 {
                return None;
            }
            digit_count += places;
            exponent = -i32::try_from(places).ok()?;
        }
        let mut is_complete = digit_count <= EXACT_DIGITS;
        if let Some(b'e' | b'E') = text.get(end) {
            let (power, after) = power(text, end + 1)?;
            match power {
                Some(power) => exponent += power,
                None => is_complete = false,
            }
            end = after;
        }
        let number = Self {
            whole,
            exponent,
            is_negative,
            is_complete,
        };
        Some((number, end))
    }

    /// The number with those digits, as many of them behind the point.
    pub(super) fn new(whole: i64, places: u8) -> Self {
        Self {
            whole: whole.unsigned_abs(),
            exponent: -i32::from(places),
            is_negative: whole < 0,
            is_complete: true,
        }
    }

    /// Its value, correctly rounded, where that is had quickly.
    pub(super) fn exact(&self) -> Option<f64> {
        if !self.is_complete || self.exponent.abs() > EXACT_POWER {
            return None;
        }
        if self.whole > EXACT_WHOLE {
            return self.rounded();
        }
        let power = POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let whole = self.whole as f64;
        // Both are exact, so one division or product rounds once.
        Some(self.signed(if self.exponent < 0 {
            whole / power
        } else {
            whole * power
        }))
    }

    /// As [`Self::exact`], by one product of 128 bits, unless that leaves open how it is to be rounded.
    fn rounded(&self) -> Option<f64> {
        let places = usize::try_from(self.exponent.checked_neg()?).ok()?;
        let (inverse, power) = *INVERSES.get(places)?;
        let zeros = self.whole.leading_zeros();
        let product = u128::from(self.whole << zeros) * u128::from(inverse);
        let shift = product.leading_zeros();
        let [high, _] = halves(product << shift);
        // The inverse is a little too small: what is cut off is right to within three units.
        let cut = high & 0x7ff;
        if (0x3fd..=0x400).contains(&cut) {
            return None;
        }
        let digits = (high >> 11) + u64::from(cut > 0x400);
        let power = 12 - i32::try_from(zeros + shift).ok()? - power;
        let power = u64::try_from(power + 1023).ok()?;
        Some(self.signed(digits as f64 * f64::from_bits(power << 52)))
    }

    /// Its value to three units in the last place at most, in the normal range of doubles.
    pub(super) fn near(&self) -> Option<f64> {
        if !self.is_complete || self.exponent.abs() > EXACT_POWER {
            return None;
        }
        let powers = if self.exponent < 0 {
            &INVERSE_POWERS
        } else {
            &POWERS
        };
        let power = powers.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        // Whole, power and product are each rounded once.
        Some(self.signed(self.whole as f64 * power))
    }

    /// What the standard library reads in the number's text.
    fn parse(&self, text: &[u8]) -> Option<f64> {
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    fn signed(&self, value: f64) -> f64 {
        if self.is_negative { -value } else { value }
    }
}

/// The upper and the lower half.
fn halves(number: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = number.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes(rest),
    ]
}

/// For each number of places `p`, `i` and `q` so that `i / 2^(63 + q)` is just below `10^-p`, and `i` has its
/// highest bit set.
const INVERSES: [(u64, i32); EXACT_DIGITS + 1] = inverses();

const fn inverses() -> [(u64, i32); EXACT_DIGITS + 1] {
    let mut inverses = [(1 << 63, 0); EXACT_DIGITS + 1];
    let mut power = 1_u64;
    let mut places = 1;
    while places <= EXACT_DIGITS {
        power *= 10;
        let bit_count = u64::BITS - power.leading_zeros();
        let inverse = (1_u128 << (63 + bit_count)) / power as u128;
        assert!(inverse >> 63 == 1);
        #[allow(clippy::cast_possible_truncation)] // by the assertion
        let inverse = inverse as u64;
        inverses[places] = (inverse, bit_count.cast_signed());
        places += 1;
    }
    inverses
}

/// The digits from `at` on after those of `whole`, and where they end. Wraps beyond 64 bits.
fn digits(text: &[u8], mut at: usize, mut whole: u64) -> (u64, usize) {
    loop {
        let (value, count) = eight(text, at);
        let power = WHOLE_POWERS.get(count).copied().unwrap_or(1);
        whole = whole.wrapping_mul(power).wrapping_add(value);
        at += count;
        if count < 8 {
            return (whole, at);
        }
    }
}

/// The exponent of a number and where it ends; the exponent is `None` if it is a long one.
fn power(text: &[u8], at: usize) -> Option<(Option<i32>, usize)> {
    let sign = text.get(at);
    let first = at + usize::from(matches!(sign, Some(b'+' | b'-')));
    let (power, end) = digits(text, first, 0);
    if end == first {
        return None;
    }
    let power = i32::try_from(power).ok().filter(|_| end - first <= 4);
    let signed = if sign == Some(&b'-') {
        power.map(|power| -power)
    } else {
        power
    };
    Some((signed, end))
}

/// The value of the digits from `at` on, up to eight, and how many they are.
fn eight(text: &[u8], at: usize) -> (u64, usize) {
    let rest = text.get(at..).unwrap_or_default();
    first_digits(
        rest.first_chunk()
            .copied()
            .unwrap_or_else(|| last_bytes(rest)),
    )
}

#[cold]
fn last_bytes(rest: &[u8]) -> [u8; 8] {
    let mut chunk = [0; 8];
    for (to, from) in chunk.iter_mut().zip(rest) {
        *to = *from;
    }
    chunk
}

#[cfg(test)]
#[path = "decimal_tests.rs"]
mod tests;
