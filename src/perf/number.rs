//! Whole numbers out of fractions, and ranges of either.

use std::str::FromStr;

/// The nearest whole number; 0 for what is negative or none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest value that there is"
)]
pub(super) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// [`whole`], as an index or a count.
pub(super) fn whole_count(value: f64) -> usize {
    usize::try_from(whole(value)).unwrap_or(usize::MAX)
}

/// Levels of load: `start`, or `start:end`, or `start:end:step`, as perf_analyzer writes them. An end
/// of 0 means that only a latency threshold ends the range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first level.
    pub start: f64,
    /// The last level; 0 for none.
    pub end: f64,
    /// From one level to the next.
    pub step: f64,
}

impl Range {
    /// Every level, in order. Without an end there is no last one.
    pub fn levels(self) -> impl Iterator<Item = f64> {
        let Self { start, end, step } = self;
        (0_u32..)
            .map(move |index| f64::from(index).mul_add(step, start))
            .take_while(move |&level| end == 0.0 || level <= end * (1.0 + 1e-9))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> = text.split(':').map(|part| part.parse().ok()).collect();
        let range = match numbers.as_deref() {
            Some(&[start]) => Some(Self::new(start, start, 1.0)),
            Some(&[start, end]) => Some(Self::new(start, end, 1.0)),
            Some(&[start, end, step]) => Some(Self::new(start, end, step)),
            _ => None,
        };
        range.filter(Self::is_sound).ok_or_else(|| {
            format!(
                "\"{text}\" is not start, start:end or start:end:step, with a start and a step above \
                 0 and an end that is not before the start (or 0, for none)"
            )
        })
    }
}

impl Range {
    fn new(start: f64, end: f64, step: f64) -> Self {
        Self { start, end, step }
    }

    fn is_sound(&self) -> bool {
        let Self { start, end, step } = *self;
        let finite = [start, end, step].iter().all(|number| number.is_finite());
        finite && start > 0.0 && step > 0.0 && (end == 0.0 || end >= start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_perf_analyzer_writes_them() {
        let cases: [(&str, &[f64]); 5] = [
            ("4", &[4.0]),
            ("1:3", &[1.0, 2.0, 3.0]),
            ("1:10:4", &[1.0, 5.0, 9.0]),
            ("0.1:0.3:0.1", &[0.1, 0.2, 0.3]),
            ("8:8:2", &[8.0]),
        ];
        for (text, due) in cases {
            let levels: Vec<f64> = text.parse::<Range>().unwrap().levels().collect();
            assert_eq!(levels.len(), due.len(), "{text}: {levels:?}");
            for (level, due) in levels.iter().zip(due) {
                assert!((level - due).abs() < 1e-9, "{text}: {levels:?}");
            }
        }
        let endless: Range = "2:0:3".parse().unwrap();
        assert_eq!(endless.levels().nth(100), Some(302.0));
        for text in ["", "0", "a", "1:2:0", "1:2:3:4", "5:4", "-1", "inf", "nan"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_become_the_nearest_whole_number() {
        for (fraction, due) in [(0.4, 0), (0.5, 1), (-3.0, 0), (f64::NAN, 0), (1e3, 1000)] {
            assert_eq!(whole(fraction), due);
        }
    }
}
