//! What a request's header fields decide, besides who calls: which locks they open, and which of
//! them become parameters of the request.

use std::sync::Arc;

use hyper::HeaderMap;
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::{
    admission::{Lock, Locks, Opened, Verb},
    error::{Error, Result},
};

/// One door's settings on header fields.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderConfig {
    /// Fields whose names match this regular expression somewhere, whatever their case, become
    /// parameters of inference requests. Empty for none.
    pub forward: String,
    /// Acts that need a secret in a header field.
    pub restricted: Vec<Lock>,
}

/// One door's rules on header fields.
#[derive(Debug, Default)]
pub struct HeaderRules {
    locks: Locks,
    forward: Option<Regex>,
}

/// What is read of a request's header fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    opened: Opened,
    /// Names and values; `None` if nothing is to be forwarded at all.
    pub(super) forwarded: Option<Arc<[(String, String)]>>,
}

impl HeaderRules {
    /// HTTP's.
    ///
    /// # Errors
    /// If the settings contradict each other or the pattern is malformed.
    pub fn http(config: &HeaderConfig) -> Result<Self, String> {
        Self::new(config, "", "API")
    }

    /// gRPC's, whose keys have Triton's prefix.
    ///
    /// # Errors
    /// As [`HeaderRules::http`].
    pub fn grpc(config: &HeaderConfig) -> Result<Self, String> {
        Self::new(config, "triton-grpc-protocol-", "protocol")
    }

    fn new(config: &HeaderConfig, prefix: &str, what: &'static str) -> Result<Self, String> {
        let mut pattern = RegexBuilder::new(&config.forward);
        let pattern = pattern.case_insensitive(true).build();
        let pattern = pattern.map_err(|error| format!("pattern '{}': {error}", config.forward))?;
        Ok(Self {
            locks: Locks::new(&config.restricted, prefix, what)?,
            forward: (!config.forward.is_empty()).then_some(pattern),
        })
    }

    /// Whether the fields decide nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.forward.is_none() && self.locks.is_empty()
    }

    /// Reads what matters of the fields.
    ///
    /// # Errors
    /// `InvalidArgument` for a field to be forwarded that is no text.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<Fields> {
        let forwarded = match &self.forward {
            Some(pattern) => Some(forwarded(pattern, headers)?),
            None => None,
        };
        Ok(Fields {
            opened: self.locks.open(headers),
            forwarded,
        })
    }

    /// # Errors
    /// As [`Locks::check`].
    pub(super) fn check(&self, verb: Verb, fields: &Fields) -> Result<()> {
        self.locks.check(verb, fields.opened)
    }
}

/// Each field that matches, the values of one that came several times joined.
fn forwarded(pattern: &Regex, headers: &HeaderMap) -> Result<Arc<[(String, String)]>> {
    let names = headers
        .keys()
        .filter(|name| pattern.is_match(name.as_str()));
    names
        .map(|name| {
            let values = headers.get_all(name).iter();
            let values = values.map(|value| std::str::from_utf8(value.as_bytes()));
            let values: Result<Vec<_>, _> = values.collect();
            let values = values.map_err(|_| {
                Error::invalid_argument(
                    "header_text",
                    format!("header field '{name}' is to be forwarded and is not UTF-8"),
                )
            })?;
            Ok((name.as_str().to_owned(), values.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn forwarded(pattern: &str, fields: &[(&'static str, &'static [u8])]) -> Result<Vec<String>> {
        let rules = HeaderRules::http(&HeaderConfig {
            forward: pattern.to_owned(),
            restricted: Vec::new(),
        });
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let fields = rules.unwrap().read(&headers)?;
        let mut shown: Vec<_> = fields
            .forwarded
            .unwrap_or_default()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        shown.sort();
        Ok(shown)
    }

    const FIELDS: [(&str, &[u8]); 4] = [
        ("my_header", b"1"),
        ("x-my_header-2", b"2"),
        ("x-my_header-2", b"3"),
        ("other", b"4"),
    ];

    #[test]
    fn fields_are_forwarded_that_match_somewhere_whatever_their_case() {
        let both = ["my_header=1", "x-my_header-2=2, 3"];
        assert_eq!(forwarded("MY_header", &FIELDS).unwrap(), both);
        assert_eq!(forwarded("^my.*", &FIELDS).unwrap(), both[..1]);
        assert!(forwarded("(?-i)MY_HEADER", &FIELDS).unwrap().is_empty());
        assert!(forwarded("", &FIELDS).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_text_or_no_pattern_is_refused() {
        assert!(forwarded("bin", &[("bin", b"\xff")]).is_err());
        assert!(forwarded("text", &[("bin", b"\xff")]).is_ok());
        let malformed = HeaderConfig {
            forward: "(".to_owned(),
            restricted: Vec::new(),
        };
        assert!(HeaderRules::grpc(&malformed).is_err());
    }
}
