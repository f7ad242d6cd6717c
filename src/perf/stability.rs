//! When a measurement has come to rest.

/// How many windows must agree.
pub(super) const WINDOWS: usize = 3;

/// What is held against that of other windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Requests a second.
    pub(super) rate: f64,
    /// Nanoseconds.
    pub(super) latency: f64,
}

/// Whether the last three windows agree: neither rate nor latency differs by more than so many per
/// cent between the largest and the smallest.
pub(super) fn is_stable(points: &[Point], percent: f64) -> bool {
    let Some(last) = points.len().checked_sub(WINDOWS) else {
        return false;
    };
    let last = points.get(last..).unwrap_or_default();
    let near = |value: fn(&Point) -> f64| {
        let values = || last.iter().map(value);
        let (least, most) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        );
        least > 0.0 && most / least <= 1.0 + percent / 100.0
    };
    near(|point| point.rate) && near(|point| point.latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(f64, f64)]) -> Vec<Point> {
        of.iter()
            .map(|&(rate, latency)| Point { rate, latency })
            .collect()
    }

    #[test]
    fn three_windows_must_agree_in_rate_and_latency() {
        let cases: [(&[(f64, f64)], bool); 7] = [
            (&[], false),
            (&[(100.0, 1.0), (100.0, 1.0)], false),
            (&[(100.0, 1.0), (105.0, 1.05), (109.0, 1.1)], true),
            (&[(100.0, 1.0), (100.0, 1.0), (111.0, 1.0)], false),
            (&[(100.0, 1.0), (100.0, 1.2), (100.0, 1.0)], false),
            (
                &[(9.0, 9.0), (100.0, 1.0), (100.0, 1.0), (100.0, 1.0)],
                true,
            ),
            (&[(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], false),
        ];
        for (windows, due) in cases {
            assert_eq!(is_stable(&points(windows), 10.0), due, "{windows:?}");
        }
    }
}
