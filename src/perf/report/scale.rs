//! Scales of a chart: where values lie, which of them are marked, and how they are written. Pure.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    Linear,
    Log,
}

/// From values to places between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    spread: Spread,
    low: f64,
    high: f64,
}

impl Scale {
    /// One that has room for all these values: from 0 on if it is linear, from the lowest if not.
    pub(super) fn over(spread: Spread, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if high <= 0.0 {
            (low, high) = (1.0, 10.0);
        }
        match spread {
            Spread::Linear => Self {
                spread,
                low: 0.0,
                high: high * 1.05,
            },
            Spread::Log => Self {
                spread,
                low: low / 1.1,
                high: (high * 1.1).max(low * 3.0),
            },
        }
    }

    /// Exactly from one value to another, evenly.
    pub(super) fn exactly(low: f64, high: f64) -> Self {
        Self {
            spread: Spread::Linear,
            low,
            high,
        }
    }

    /// Where a value lies; beyond the ends, at the ends.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.spread {
            Spread::Linear => (value - self.low) / (self.high - self.low),
            Spread::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values to mark.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.spread {
            Spread::Linear => self.linear_ticks(),
            Spread::Log => self.log_ticks(),
        }
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil();
        (0..12)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|tick| *tick <= self.high * (1.0 + 1e-9))
            .collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let within: &[f64] = if decades < 1.0 {
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
        } else if decades < 3.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let first = self.low.log10().floor();
        let powers = (0..40).map(|index| 10_f64.powf(first + f64::from(index)));
        powers
            .take_while(|power| *power <= self.high)
            .flat_map(|power| within.iter().map(move |step| step * power))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

/// Microseconds, in the unit that suits them.
pub(super) fn duration(microseconds: f64) -> String {
    if microseconds >= 1e6 {
        format!("{} s", digits(microseconds / 1e6))
    } else if microseconds >= 1e3 {
        format!("{} ms", digits(microseconds / 1e3))
    } else {
        format!("{} µs", digits(microseconds))
    }
}

/// A number, short.
pub(super) fn amount(number: f64) -> String {
    if number >= 1e6 {
        format!("{}M", digits(number / 1e6))
    } else if number >= 1e4 {
        format!("{}k", digits(number / 1e3))
    } else {
        digits(number)
    }
}

/// Three digits at most, and no zeros behind the point.
fn digits(number: f64) -> String {
    let places = match number.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{number:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_has_a_place_and_every_tick_lies_on_the_scale(
            values in prop::collection::vec(1e-3..1e9_f64, 1..20),
            log: bool,
        ) {
            let spread = if log { Spread::Log } else { Spread::Linear };
            let scale = Scale::over(spread, values.iter().copied());
            for value in &values {
                prop_assert!((0.0..=1.0).contains(&scale.place(*value)));
            }
            let ticks = scale.ticks();
            prop_assert!((2..=12).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.is_sorted());
            prop_assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&scale.place(*tick))));
        }
    }

    #[test]
    fn nothing_has_a_scale_too() {
        assert!(
            !Scale::over(Spread::Log, [f64::NAN, 0.0].into_iter())
                .ticks()
                .is_empty()
        );
    }

    #[test]
    fn a_single_value_has_marks_around_it() {
        let scale = Scale::over(Spread::Log, [335_619_714.0].into_iter());
        assert!(scale.ticks().len() > 1);
    }

    #[test]
    fn numbers_are_short() {
        for (value, due) in [
            (0.5, "0.5 µs"),
            (250.0, "250 µs"),
            (1234.0, "1.23 ms"),
            (2.5e6, "2.5 s"),
        ] {
            assert_eq!(duration(value), due);
        }
        for (value, due) in [
            (0.0, "0"),
            (950.0, "950"),
            (9500.0, "9500"),
            (12_345.0, "12.3k"),
            (2e6, "2M"),
        ] {
            assert_eq!(amount(value), due);
        }
    }
}
