//! The plainest numbers of a JSON array, all those of a block at once: where they end is found for the
//! whole block first, so that none waits for the one before it.

/// Bytes that are looked at together.
const BLOCK: usize = 64;
/// Numbers of a batch, at most.
pub(super) const MOST: usize = 16;
/// Bytes before a block that may be read with it.
const BEFORE: usize = 16;
/// Digits that always fit, with a sign.
const DIGITS: usize = 18;

const POWERS: [u64; DIGITS + 1] = powers();

/// Numbers of up to 18 digits without an exponent, with commas between them.
#[derive(Debug)]
pub(super) struct Batch {
    /// Their digits as whole numbers; never a zero with a sign.
    whole: [i64; MOST],
    /// How many of the digits are behind the point.
    places: [u8; MOST],
    pub(super) count: usize,
    /// Where the comma behind the last of them is.
    pub(super) end: usize,
    /// Where the number behind that comma begins.
    pub(super) next: usize,
}

impl Batch {
    /// The numbers from `begin` on, `most` at most, as far as they are plain and have a comma in the
    /// block behind them. There are none where less than a block is left, or too little is before it.
    #[inline]
    pub(super) fn read(text: &[u8], begin: usize, most: usize) -> Self {
        let mut batch = Self {
            whole: [0; MOST],
            places: [0; MOST],
            count: 0,
            end: begin,
            next: begin,
        };
        let block = text.get(begin..).and_then(|rest| rest.first_chunk());
        let (Some(block), true) = (block, begin >= BEFORE) else {
            return batch;
        };
        let mut commas = commas(block);
        while commas != 0 && batch.count < most {
            let comma = begin + commas.trailing_zeros() as usize;
            commas &= commas - 1;
            let number = plain(text, batch.next, comma);
            let slots = batch.whole.get_mut(batch.count);
            let slots = slots.zip(batch.places.get_mut(batch.count));
            let (Some((whole, places)), Some(slots)) = (number, slots) else {
                break;
            };
            (*slots.0, *slots.1) = (whole, places);
            batch.count += 1;
            batch.end = comma;
            batch.next = comma + 1 + usize::from(text.get(comma + 1) == Some(&b' '));
        }
        batch
    }

    /// Each number's digits, and how many of them are behind the point.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (i64, u8)> {
        let numbers = self.whole.iter().zip(&self.places).take(self.count);
        numbers.map(|(whole, places)| (*whole, *places))
    }
}

/// Where commas are, a bit for each byte. Where bytes are not ASCII it may be wrong behind them, but
/// those are in no number either.
fn commas(block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks();
    let mut mask = 0;
    for (index, word) in words.iter().enumerate() {
        let differ = u64::from_le_bytes(*word) ^ 0x2c2c_2c2c_2c2c_2c2c;
        let equal = !differ.wrapping_add(0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080;
        // The product has the eight bits together in its highest byte.
        mask |= ((equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * index);
    }
    mask
}

/// The number from `begin` to `end`, if it is plain.
#[inline(always)]
fn plain(text: &[u8], begin: usize, end: usize) -> Option<(i64, u8)> {
    let is_negative = *text.get(begin)? == b'-';
    let first = begin + usize::from(is_negative);
    let (before, point) = before_point(text, first)?;
    let mut whole = before;
    let mut places = 0;
    if point != end {
        places = end.checked_sub(point + 1)?;
        let digit_count = if before == 0 {
            places
        } else {
            places + (point - first)
        };
        if *text.get(point)? != b'.' || places == 0 || digit_count > DIGITS {
            return None;
        }
        // Below 10^18 in all.
        whole = whole.wrapping_mul(*POWERS.get(places)?);
        whole = whole.wrapping_add(last_eight(text, end, places.min(8))?);
        if places > 8 {
            let middle = last_eight(text, end - 8, (places - 8).min(8))?;
            whole = whole.wrapping_add(middle.wrapping_mul(100_000_000));
        }
        if places > 16 {
            let high = last_eight(text, end - 16, places - 16)?;
            whole = whole.wrapping_add(high.wrapping_mul(10_000_000_000_000_000));
        }
    }
    if is_negative && whole == 0 {
        return None;
    }
    let sign = -i64::from(is_negative);
    let whole = (whole.cast_signed() ^ sign).wrapping_sub(sign);
    Some((whole, u8::try_from(places).ok()?))
}

/// The digits before the point, seven at most, and where they end.
#[inline(always)]
fn before_point(text: &[u8], first: usize) -> Option<(u64, usize)> {
    let digit = text.get(first)?.wrapping_sub(b'0');
    if *text.get(first + 1)? == b'.' {
        return (digit <= 9).then_some((u64::from(digit), first + 1));
    }
    let (value, count) = first_digits(*text.get(first..)?.first_chunk()?);
    let is_number = (1..8).contains(&count) && (count == 1 || digit != 0);
    is_number.then_some((value, first + count))
}

/// The last `count` of the eight bytes before `end`, from one to eight, if they are digits.
#[inline(always)]
fn last_eight(text: &[u8], end: usize, count: usize) -> Option<u64> {
    let chunk: &[u8; 8] = text.get(..end)?.last_chunk()?;
    let values = (u64::from_le_bytes(*chunk) ^ ZEROS) & (u64::MAX << (64 - 8 * count));
    (others(values) == 0).then_some(joined(values))
}

/// Eight digits of zero as they are written.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The value of the digits at the start, and how many of the eight bytes they are.
#[inline(always)]
pub(super) fn first_digits(chunk: [u8; 8]) -> (u64, usize) {
    let values = u64::from_le_bytes(chunk) ^ ZEROS;
    let bit_count = others(values).trailing_zeros() & !7;
    let aligned = values.checked_shl(64 - bit_count).unwrap_or(0);
    (joined(aligned), bit_count as usize / 8)
}

/// The high bit of each byte that is more than nine; what is above the first such byte may be wrong.
#[inline(always)]
fn others(values: u64) -> u64 {
    (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080
}

/// The number that eight digits make: neighbours are joined to pairs, pairs to fours and to eight.
#[inline(always)]
fn joined(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let outer = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let inner = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    outer.wrapping_add(inner) >> 32
}

const fn powers() -> [u64; DIGITS + 1] {
    let mut powers = [1; DIGITS + 1];
    let mut power = 1;
    while power <= DIGITS {
        powers[power] = powers[power - 1] * 10;
        power += 1;
    }
    powers
}
