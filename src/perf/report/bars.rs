//! Where the time of a request goes, as a bar for each level.

use super::{
    super::Level,
    chart::{escape, legend, push},
    scale::{Scale, Spread, duration},
};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
/// Levels that are shown at most.
const ROWS: usize = 16;

/// Names of the parts, with their colours.
const PARTS: [(usize, &str); 6] = [
    (4, "queue"),
    (2, "input"),
    (0, "inference"),
    (3, "output"),
    (6, "rest of the server"),
    (7, "network and client"),
];

/// The bars; none if the server tells nothing.
pub(super) fn breakdown(levels: &[Level]) -> Option<String> {
    let rows: Vec<(&Level, [f64; 6])> = levels
        .iter()
        .filter_map(|level| Some((level, parts(level)?)))
        .take(ROWS)
        .collect();
    let most = rows.iter().map(|(_, parts)| parts.iter().sum::<f64>());
    let scale = Scale::over(Spread::Linear, most);
    let (_, height) = rows
        .iter()
        .fold((0, 4.0), |(count, y), _| (count + 1, y + ROW));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Mean time of a request at \
         each level, by part; the numbers are in the table below\">\n"
    );
    let mut y = 4.0;
    for (level, parts) in &rows {
        push_row(&mut svg, level, parts, y, &scale);
        y += ROW;
    }
    svg.push_str("</svg>\n");
    (!rows.is_empty()).then(|| svg + &legend(PARTS.into_iter()))
}

/// Microseconds of each part.
fn parts(level: &Level) -> Option<[f64; 6]> {
    let server = level.server.as_ref()?;
    let known = [
        server.queue_us,
        server.compute_input_us,
        server.compute_infer_us,
        server.compute_output_us,
    ];
    let rest = (server.total_us - known.iter().sum::<f64>()).max(0.0);
    let network = (level.latency.mean - server.total_us).max(0.0);
    let [queue, input, infer, output] = known;
    Some([queue, input, infer, output, rest, network])
}

fn push_row(svg: &mut String, level: &Level, parts: &[f64; 6], y: f64, scale: &Scale) {
    let middle = y + BAR / 2.0 + 4.0;
    let across = |value| scale.place(value) * (WIDTH - LEFT - RIGHT);
    push(
        svg,
        format_args!(
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            escape(&level.load.label())
        ),
    );
    let mut x = LEFT;
    for ((colour, name), microseconds) in PARTS.iter().zip(parts) {
        let width = across(*microseconds);
        push(
            svg,
            format_args!(
                "<rect class=\"bar c{colour}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
                 height=\"{BAR}\"><title>{name}: {}</title></rect>",
                duration(*microseconds)
            ),
        );
        x += width;
    }
    push(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            x + 6.0,
            duration(parts.iter().sum())
        ),
    );
}
