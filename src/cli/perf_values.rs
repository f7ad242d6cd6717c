//! How the values of `despina perf`'s flags are written.

use std::str::FromStr;

use anyhow::{Result, bail};

use crate::perf::ParameterValue;

/// `NAME[:VERSION][=WEIGHT]`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelFlag {
    pub(super) name: String,
    pub(super) version: Option<u64>,
    pub(super) weight: Option<f64>,
}

impl FromStr for ModelFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, weight) = match text.rsplit_once('=') {
            Some((rest, weight)) => {
                let weight = weight
                    .parse()
                    .ok()
                    .filter(|weight: &f64| *weight > 0.0 && weight.is_finite());
                (rest, Some(weight.ok_or("a weight is a number above 0")?))
            }
            None => (text, None),
        };
        let (name, version) = match rest.rsplit_once(':') {
            Some((name, version)) => {
                let version = version.parse().map_err(|_| "a version is a whole number")?;
                (name, Some(version))
            }
            None => (rest, None),
        };
        if name.is_empty() {
            return Err("a model has a name".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            version,
            weight,
        })
    }
}

/// `NAME:D,D,...`
pub(super) fn shape(text: &str) -> Result<(String, Vec<i64>)> {
    let parsed = text.rsplit_once(':').and_then(|(name, dims)| {
        let dims: Option<Vec<i64>> = dims.split(',').map(|dim| dim.trim().parse().ok()).collect();
        Some((name.to_owned(), dims?))
    });
    match parsed {
        Some(shape) if shape.1.iter().all(|&dim| dim >= 0) => Ok(shape),
        _ => bail!("--shape {text}: it is NAME:D,D,... with whole numbers"),
    }
}

/// `NAME:VALUE`, which may not smuggle in another field.
pub(super) fn header(text: &str) -> Result<(String, String)> {
    let printable = text
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    match text.split_once(':') {
        Some((name, value)) if printable && !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => bail!("-H {text}: it is NAME:VALUE in visible ASCII"),
    }
}

/// `NAME:VALUE:TYPE`
pub(super) fn parameter(text: &str) -> Result<(String, ParameterValue)> {
    let parsed = text.rsplit_once(':').and_then(|(rest, kind)| {
        let (name, value) = rest.split_once(':')?;
        let value = match kind {
            "bool" => ParameterValue::Bool(value.parse().ok()?),
            "int" => ParameterValue::Int(value.parse().ok()?),
            "string" => ParameterValue::Text(value.to_owned()),
            _ => return None,
        };
        Some((name.to_owned(), value))
    });
    match parsed {
        Some(parameter) => Ok(parameter),
        None => {
            bail!("--request-parameter {text}: it is NAME:VALUE:TYPE, the type bool, int or string")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_may_have_versions_and_weights() {
        let flag = |name: &str, version, weight| ModelFlag {
            name: name.to_owned(),
            version,
            weight,
        };
        let cases = [
            ("m", flag("m", None, None)),
            ("a/b:2", flag("a/b", Some(2), None)),
            ("m=0.5", flag("m", None, Some(0.5))),
            ("m:3=2", flag("m", Some(3), Some(2.0))),
        ];
        for (text, due) in cases {
            assert_eq!(text.parse::<ModelFlag>().unwrap(), due);
        }
        for bad in ["", ":1", "m:x", "m=0", "m=-1", "m=nan"] {
            assert!(bad.parse::<ModelFlag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shapes_header_fields_and_parameters_are_read_or_refused() {
        assert_eq!(shape("IN:3, 4").unwrap(), ("IN".to_owned(), vec![3, 4]));
        assert_eq!(shape("a:b:1").unwrap().0, "a:b");
        for bad in ["IN", "IN:", "IN:-1", "IN:x"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
        let field = header("authorization: Bearer x:y").unwrap();
        assert_eq!(field, ("authorization".to_owned(), "Bearer x:y".to_owned()));
        for bad in ["x", ":x", "x: a\r\ny: b", "x: ü"] {
            assert!(header(bad).is_err(), "{bad}");
        }
        let text = ParameterValue::Text("a:b".to_owned());
        assert_eq!(parameter("p:a:b:string").unwrap(), ("p".to_owned(), text));
        assert_eq!(parameter("p:-3:int").unwrap().1, ParameterValue::Int(-3));
        for bad in ["p:1:float", "p:x:int", "p:bool", ""] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }
}
