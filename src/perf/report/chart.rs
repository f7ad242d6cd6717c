//! Charts as SVG. Colours come from the page's style, so that they suit its background.

use std::fmt::Write;

use super::scale::Scale;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Lines over two axes.
pub(super) struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) description: String,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) lines: Vec<Line>,
    /// Parts of the x axis that are marked.
    pub(super) bands: Vec<(f64, f64)>,
}

/// An axis.
pub(super) struct Axis<'a> {
    pub(super) label: &'a str,
    pub(super) scale: Scale,
    /// How its numbers are written.
    pub(super) text: fn(f64) -> String,
}

/// A line through points.
pub(super) struct Line {
    pub(super) name: String,
    /// Which of the page's colours.
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether points are marked, and what each is; empty for none.
    pub(super) marks: Vec<String>,
    /// Whether the line goes in steps.
    pub(super) stepped: bool,
}

impl Chart<'_> {
    /// The chart and its legend.
    pub(super) fn html(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.description)
        );
        for &(from, to) in &self.bands {
            let (left, right) = (self.across(from), self.across(to));
            push(
                &mut svg,
                format_args!(
                    "<rect class=\"band\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    right - left,
                    HEIGHT - TOP - BOTTOM,
                ),
            );
        }
        self.push_x_axis(&mut svg);
        self.push_y_axis(&mut svg);
        for line in &self.lines {
            self.push_line(&mut svg, line);
        }
        svg.push_str("</svg>\n");
        svg + &self.legend()
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn push_x_axis(&self, svg: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        for tick in self.x.scale.ticks() {
            let x = self.across(tick);
            push(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    bottom + 16.0,
                    (self.x.text)(tick),
                ),
            );
        }
        push(
            svg,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text class=\"name\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                WIDTH - RIGHT,
                f64::midpoint(LEFT, WIDTH - RIGHT),
                HEIGHT - 8.0,
                escape(self.x.label),
            ),
        );
    }

    fn push_y_axis(&self, svg: &mut String) {
        for tick in self.y.scale.ticks() {
            let y = self.down(tick);
            push(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    WIDTH - RIGHT,
                    LEFT - 8.0,
                    y + 4.0,
                    (self.y.text)(tick),
                ),
            );
        }
        let middle = f64::midpoint(TOP, HEIGHT - BOTTOM);
        push(
            svg,
            format_args!(
                "<text class=\"name\" transform=\"translate(12 {middle}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
                escape(self.y.label),
            ),
        );
    }

    fn push_line(&self, svg: &mut String, line: &Line) {
        let mut path = String::new();
        for (index, &(x, y)) in line.points.iter().enumerate() {
            let (x, y) = (self.across(x), self.down(y));
            if index == 0 {
                push(&mut path, format_args!("M{x:.1} {y:.1}"));
            } else if line.stepped {
                push(&mut path, format_args!("H{x:.1}V{y:.1}"));
            } else {
                push(&mut path, format_args!("L{x:.1} {y:.1}"));
            }
        }
        let colour = line.colour;
        push(
            svg,
            format_args!(
                "<path class=\"line c{colour}\" d=\"{}\"/>",
                path.replace('\n', "")
            ),
        );
        for (&(x, y), mark) in line.points.iter().zip(&line.marks) {
            push(
                svg,
                format_args!(
                    "<circle class=\"mark c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\">\
                 <title>{}</title></circle>",
                    self.across(x),
                    self.down(y),
                    escape(mark),
                ),
            );
        }
    }

    fn legend(&self) -> String {
        let names = self
            .lines
            .iter()
            .map(|line| (line.colour, line.name.as_str()));
        legend(names)
    }
}

/// Names with their colours; nothing for a single one.
pub(super) fn legend<'a>(names: impl ExactSizeIterator<Item = (usize, &'a str)>) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let mut html = "<ul class=\"legend\">".to_owned();
    for (colour, name) in names {
        let name = escape(name);
        push(
            &mut html,
            format_args!("<li><span class=\"key c{colour}\"></span>{name}</li>"),
        );
    }
    html + "</ul>\n"
}

/// Text that means nothing to HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Adds a line of text.
pub(super) fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
