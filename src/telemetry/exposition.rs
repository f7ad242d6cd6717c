//! The Prometheus text format (version 0.0.4), written by hand because names must be exactly
//! Triton's: no suffix added, none taken.

use std::fmt::{Display, Write};

use super::Histogram;

/// The `Content-Type` of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Builds one exposition: families one after the other, each with all its series.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// What a family is.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Label names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Starts a family; its series follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One series of the family that was started last.
    pub fn series(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let labels = LabelSet {
            labels,
            extra: None,
        };
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// One histogram of the family that was started last.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram) {
        let (buckets, count, sum) = histogram.cumulative();
        for (bound, below) in buckets {
            let bound = bound.to_string();
            let labels = LabelSet {
                labels,
                extra: Some(("le", &bound)),
            };
            self.line(format_args!("{name}_bucket{labels} {below}"));
        }
        let infinite = LabelSet {
            labels,
            extra: Some(("le", "+Inf")),
        };
        self.line(format_args!("{name}_bucket{infinite} {count}"));
        let labels = LabelSet {
            labels,
            extra: None,
        };
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {count}"));
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

struct LabelSet<'a> {
    labels: Labels<'a>,
    extra: Option<(&'a str, &'a str)>,
}

impl Display for LabelSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = '{';
        for (name, value) in self.labels.iter().copied().chain(self.extra) {
            write!(f, "{separator}{name}=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => f.write_char(c)?,
                }
            }
            f.write_char('"')?;
            separator = ',';
        }
        if separator == ',' {
            f.write_char('}')
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_families_and_escapes_label_values() {
        let mut exposition = Exposition::default();
        exposition.family("nv_inference_count", Kind::Counter, "Rows inferred");
        exposition.series(
            "nv_inference_count",
            &[("model", "a\"b\\c\n"), ("version", "1")],
            3,
        );
        exposition.series("nv_inference_count", &[], 0.5);
        assert_eq!(
            exposition.finish(),
            "# HELP nv_inference_count Rows inferred\n# TYPE nv_inference_count counter\n\
             nv_inference_count{model=\"a\\\"b\\\\c\\n\",version=\"1\"} 3\nnv_inference_count 0.5\n"
        );
    }

    #[test]
    fn writes_histograms_with_the_infinite_bucket() {
        let histogram = Histogram::new(&[0.5]);
        histogram.observe(0.25);
        histogram.observe(2.0);
        let mut exposition = Exposition::default();
        exposition.histogram("h", &[("model", "m")], &histogram);
        assert_eq!(
            exposition.finish(),
            "h_bucket{model=\"m\",le=\"0.5\"} 1\nh_bucket{model=\"m\",le=\"+Inf\"} 2\n\
             h_sum{model=\"m\"} 2.25\nh_count{model=\"m\"} 2\n"
        );
    }
}
