//! The charts of a report: which values go where.

use super::{
    super::{Level, Moment},
    chart::{Axis, Chart, Line},
    scale::{Scale, Spread, amount, duration},
};

/// Levels whose distributions are drawn at most: the colours end there.
const LINES: usize = 8;
/// Points of a curve.
const POINTS: usize = 240;

/// Latency over throughput; none for a single level.
pub(super) fn throughput(levels: &[Level]) -> Option<String> {
    if levels.len() < 2 {
        return None;
    }
    type Percentile = (&'static str, usize, fn(&Level) -> f64);
    let percentiles: [Percentile; 3] = [
        ("p50", 0, |level| level.latency.p50),
        ("p90", 2, |level| level.latency.p90),
        ("p99", 1, |level| level.latency.p99),
    ];
    let mut levels: Vec<&Level> = levels.iter().collect();
    if levels.iter().any(|level| level.send_lag_p99_us > 0.0) {
        // A search does not go from less to more.
        levels.sort_by(|a, b| a.inferences_per_second.total_cmp(&b.inferences_per_second));
    }
    let line = |(name, colour, value): Percentile| Line {
        name: name.to_owned(),
        colour,
        points: levels
            .iter()
            .map(|level| (level.inferences_per_second, value(level)))
            .collect(),
        marks: levels
            .iter()
            .map(|level| {
                let load = format!(
                    "{} {}",
                    level.load.name().to_lowercase(),
                    level.load.label()
                );
                let rate = amount(level.inferences_per_second);
                format!(
                    "{load}: {rate} inferences/s, {name} {}",
                    duration(value(level))
                )
            })
            .collect(),
        stepped: false,
    };
    let lines: Vec<Line> = percentiles.map(line).into();
    let rates = levels.iter().map(|level| level.inferences_per_second);
    let chart = Chart {
        description: "Latency over throughput, at p50, p90 and p99; the numbers are in the table \
                      below"
            .to_owned(),
        x: Axis {
            label: "inferences/s",
            scale: Scale::over(Spread::Linear, rates),
            text: amount,
        },
        y: Axis {
            label: "latency",
            scale: Scale::over(Spread::Log, values(&lines)),
            text: duration,
        },
        lines,
        bands: Vec::new(),
    };
    Some(chart.html())
}

/// Cumulative distributions of latency.
pub(super) fn distribution(levels: &[Level]) -> Option<String> {
    let shown = spread(levels, LINES);
    let lines: Vec<Line> = shown
        .iter()
        .enumerate()
        .map(|(colour, level)| Line {
            name: format!(
                "{} {}",
                level.load.name().to_lowercase(),
                level.load.label()
            ),
            colour,
            points: thinned(&level.distribution),
            marks: Vec::new(),
            stepped: true,
        })
        .collect();
    let across = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(x, _)| *x));
    let chart = Chart {
        description: "Cumulative distribution of latency at each level".to_owned(),
        x: Axis {
            label: "latency",
            scale: Scale::over(Spread::Log, across),
            text: duration,
        },
        y: Axis {
            label: "share of requests",
            scale: Scale::exactly(0.0, 1.0),
            text: |share| format!("{:.0} %", share * 100.0),
        },
        lines,
        bands: Vec::new(),
    };
    Some(chart.html())
}

/// Requests a second in time.
pub(super) fn rates(level: &Level) -> Option<String> {
    let line = Line {
        name: "requests/s".to_owned(),
        colour: 0,
        points: level
            .series
            .iter()
            .map(|at| (at.seconds, at.requests_per_second))
            .collect(),
        marks: Vec::new(),
        stepped: false,
    };
    in_time(
        level,
        "Requests a second in time",
        "requests/s",
        amount,
        Spread::Linear,
        vec![line],
    )
}

/// Latencies in time.
pub(super) fn latencies(level: &Level) -> Option<String> {
    let line = |name: &str, colour, value: fn(&Moment) -> Option<f64>| Line {
        name: name.to_owned(),
        colour,
        points: level
            .series
            .iter()
            .filter_map(|at| Some((at.seconds, value(at)?)))
            .collect(),
        marks: Vec::new(),
        stepped: false,
    };
    let lines = vec![
        line("p50", 0, |at| at.p50_us),
        line("p99", 1, |at| at.p99_us),
    ];
    in_time(
        level,
        "Latency in time, at p50 and p99",
        "latency",
        duration,
        Spread::Log,
        lines,
    )
}

fn in_time(
    level: &Level,
    description: &str,
    label: &str,
    text: fn(f64) -> String,
    spread: Spread,
    lines: Vec<Line>,
) -> Option<String> {
    let end = level
        .series
        .last()
        .filter(|_| level.series.len() > 1)?
        .seconds;
    let chart = Chart {
        description: description.to_owned(),
        x: Axis {
            label: "seconds",
            scale: Scale::exactly(0.0, end),
            text: amount,
        },
        y: Axis {
            label,
            scale: Scale::over(spread, values(&lines)),
            text,
        },
        lines,
        bands: measured(&level.series).into_iter().collect(),
    };
    Some(chart.html())
}

/// From when to when the numbers are of.
fn measured(series: &[Moment]) -> Option<(f64, f64)> {
    let first = series.iter().position(|moment| moment.measured)?;
    let before = first.checked_sub(1).and_then(|before| series.get(before));
    let last = series.iter().rfind(|moment| moment.measured)?;
    Some((before.map_or(0.0, |moment| moment.seconds), last.seconds))
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(_, y)| *y))
}

/// At most so many of the items, evenly, the first and the last among them.
fn spread<T>(items: &[T], most: usize) -> Vec<&T> {
    if items.len() <= most {
        return items.iter().collect();
    }
    let index = |step: usize| step * (items.len() - 1) / (most - 1);
    (0..most)
        .filter_map(|step| items.get(index(step)))
        .collect()
}

/// A curve through fewer points; the ends stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    spread(points, POINTS).into_iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_are_spread_from_end_to_end() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(spread(&items, 4), [&0, &33, &66, &99]);
        assert_eq!(spread(&items[..3], 4), [&0, &1, &2]);
    }
}
