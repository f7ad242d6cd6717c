//! Shapes for which a plan is optimised, as text and as values. Pure.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{backend::tensorrt::profile::Range, tensor::Shape};

/// Dimensions that TensorRT's shapes have room for.
const DIMENSION_LIMIT: usize = 8;
/// The largest dimension that TensorRT takes.
const EXTENT_LIMIT: i64 = i32::MAX as i64;

/// One optimization profile: the smallest, best and largest shape of each input that varies, by name. As text
/// `NAME=MIN/OPT/MAX,NAME=…`, such as `x=1x784/16x784/64x784`; one shape alone stands for all three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildProfile(BTreeMap<String, Range>);

impl BuildProfile {
    /// The inputs with their shapes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Range)> {
        self.0.iter().map(|(name, range)| (name.as_str(), range))
    }

    /// The shapes of that input, if it has any.
    pub fn range(&self, input: &str) -> Option<&Range> {
        self.0.get(input)
    }
}

impl FromIterator<(String, Range)> for BuildProfile {
    fn from_iter<I: IntoIterator<Item = (String, Range)>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl FromStr for BuildProfile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ranges = BTreeMap::new();
        for part in text.split(',') {
            // Names of tensors hold all kinds of characters; shapes hold no equals sign.
            let (name, shapes) = part.trim().rsplit_once('=').ok_or_else(|| {
                format!(
                    "'{}' is no NAME=MIN/OPT/MAX, such as x=1x784/16x784/64x784",
                    part.escape_debug()
                )
            })?;
            let range = range(shapes).map_err(|why| format!("input '{name}': {why}"))?;
            if ranges.insert(name.to_owned(), range).is_some() {
                return Err(format!("input '{name}' is named twice"));
            }
        }
        Ok(Self(ranges))
    }
}

impl fmt::Display for BuildProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, range)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}={}", RangeText(range))?;
        }
        Ok(())
    }
}

/// A range as it is written.
struct RangeText<'a>(&'a Range);

impl fmt::Display for RangeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { min, opt, max } = self.0;
        for (index, shape) in [min, opt, max].into_iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            let extents: Vec<_> = shape.iter().map(ToString::to_string).collect();
            write!(f, "{slash}{}", extents.join("x"))?;
        }
        Ok(())
    }
}

fn range(text: &str) -> Result<Range, String> {
    let shapes: Vec<_> = text.split('/').map(shape).collect::<Result<_, _>>()?;
    let [min, opt, max] = match <[Shape; 3]>::try_from(shapes) {
        Ok(three) => three,
        Err(shapes) => match <[Shape; 1]>::try_from(shapes) {
            Ok([one]) => [one.clone(), one.clone(), one],
            Err(_) => return Err(format!("'{text}' is no MIN/OPT/MAX")),
        },
    };
    let range = Range { min, opt, max };
    match range.is_sorted() {
        true => Ok(range),
        false => Err(format!(
            "'{text}' must not fall from MIN over OPT to MAX in any dimension"
        )),
    }
}

fn shape(text: &str) -> Result<Shape, String> {
    let extents: Vec<i64> = text
        .split('x')
        .map(|part| part.trim().parse().ok())
        .collect::<Option<_>>()
        .ok_or_else(|| format!("'{}' is no shape such as 1x3x224x224", text.escape_debug()))?;
    let is_possible = extents
        .iter()
        .all(|extent| (1..=EXTENT_LIMIT).contains(extent));
    if !is_possible || extents.len() > DIMENSION_LIMIT {
        return Err(format!(
            "shape '{text}' must have dimensions from 1 to {EXTENT_LIMIT}, and at most {DIMENSION_LIMIT}"
        ));
    }
    Ok(Shape::new(extents))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn profiles_are_read_and_written_alike() {
        let table = [
            ("x=1x784/16x784/64x784", "x=1x784/16x784/64x784"),
            ("x=4", "x=4/4/4"),
            ("b=1/2/3, a:0=1x1/1x1/2x2", "a:0=1x1/1x1/2x2,b=1/2/3"),
            ("odd=name=2x2", "odd=name=2x2/2x2/2x2"),
        ];
        for (text, written) in table {
            let profile: BuildProfile = text.parse().unwrap();
            assert_eq!(profile.to_string(), written);
            assert_eq!(written.parse(), Ok(profile));
        }
    }

    #[test]
    fn what_is_no_profile_is_refused_with_the_reason() {
        let table = [
            ("x", "is no NAME=MIN/OPT/MAX"),
            ("", "is no NAME=MIN/OPT/MAX"),
            ("x=1/2", "'1/2' is no MIN/OPT/MAX"),
            ("x=2/1/3", "must not fall"),
            ("x=1x2/1/1", "must not fall"),
            ("x=axb", "is no shape"),
            ("x=0", "dimensions from 1"),
            ("x=-1", "dimensions from 1"),
            ("x=1x1x1x1x1x1x1x1x1", "at most 8"),
            ("x=4294967296", "dimensions from 1"),
            ("x=1,x=2", "named twice"),
        ];
        for (text, part) in table {
            let message = text.parse::<BuildProfile>().unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,60}") {
            if let Ok(profile) = text.parse::<BuildProfile>() {
                prop_assert_eq!(profile.to_string().parse(), Ok(profile));
            }
        }
    }
}
