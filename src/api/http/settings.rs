//! The trace and logging extensions over HTTP.

use bytes::Bytes;
use hyper::{Method, Response, body::Incoming};
use jiter::Peek;
use serde_json::{Map, Value};

use super::{metadata::document, reader::Reader};
use crate::{
    admission::Limits,
    api::{
        Api,
        admit::Admitted,
        body::{self, Chunks},
        logging,
        trace::{self, Shown},
    },
    error::Result,
    inference::Parameter,
    telemetry::logging::Change,
    trace::Change as TraceChange,
};

/// Bytes of a body with settings.
const SETTINGS_BYTE_SIZE: usize = 64 << 10;
/// Depths of nesting.
const DOCUMENT: usize = 1;
const VALUES: usize = 2;

/// What is logged; with POST, after it was changed.
pub(super) async fn logging(
    api: &Admitted<'_>,
    method: &Method,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    let mut change = Change::default();
    if method == Method::POST {
        change = log_change(&read(api, body).await?, &api.limits)?;
    }
    let settings = logging::shown(logging::update(api, &change));
    let settings = settings.map(|(name, value)| (name.to_owned(), json(value)));
    Ok(document(&Value::Object(Map::from_iter(settings))))
}

/// What is traced, of one model or of all; with POST, after it was changed.
pub(super) async fn trace(
    api: &Admitted<'_>,
    method: &Method,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    let mut change = TraceChange::default();
    if method == Method::POST {
        change = trace_change(&read(api, body).await?, &api.limits)?;
    }
    let settings = trace::update(api, &change)?.map(|(name, values): Shown| {
        let value = if name == "trace_level" {
            values.into()
        } else {
            values.concat().into()
        };
        (name.to_owned(), value)
    });
    Ok(document(&Value::Object(Map::from_iter(settings))))
}

async fn read(api: &Api, body: &mut Incoming) -> Result<Bytes> {
    let limit = SETTINGS_BYTE_SIZE.min(api.limits.request_byte_size);
    body::read(body, limit, &api.patience(), &mut api.budget.charge()).await
}

/// A change of the log settings; `null` leaves a setting as it is.
fn log_change(body: &[u8], limits: &Limits) -> Result<Change> {
    let mut change = Change::default();
    if body.is_empty() {
        return Ok(change);
    }
    let mut reader = Reader::new(body, limits);
    reader.object(DOCUMENT, str::to_owned, |reader, name| {
        if reader.peek()? == Peek::Null {
            return reader.skip(DOCUMENT).map(drop);
        }
        logging::set(&mut change, &name, &reader.parameter()?)
    })?;
    reader.finish()?;
    Ok(change)
}

/// A change of the trace settings: texts, lists of texts, or `null` for what is no longer set.
fn trace_change(body: &[u8], limits: &Limits) -> Result<TraceChange> {
    let mut change = TraceChange::default();
    if body.is_empty() {
        return Ok(change);
    }
    let mut reader = Reader::new(body, limits);
    reader.object(DOCUMENT, str::to_owned, |reader, name| {
        let mut values = Vec::new();
        match reader.peek()? {
            Peek::Null => reader.skip(DOCUMENT).map(drop)?,
            Peek::Array => reader.array(VALUES, |reader, _| {
                values.push(reader.string("length of a setting")?);
                Ok(())
            })?,
            _ => values.push(reader.string("length of a setting")?),
        }
        trace::set(&mut change, &name, &values)
    })?;
    reader.finish()?;
    Ok(change)
}

fn json(value: Parameter) -> Value {
    match value {
        Parameter::Bool(value) => value.into(),
        Parameter::Int(value) => value.into(),
        Parameter::Uint(value) => value.into(),
        Parameter::Double(value) => value.into(),
        Parameter::String(value) => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_settings_are_texts_lists_or_null() {
        use crate::trace::Edit;
        let read = |text: &str| trace_change(text.as_bytes(), &Limits::default());
        assert_eq!(read("").unwrap(), TraceChange::default());
        let change = read(r#"{"trace_rate":"7","trace_count":null,"trace_level":["OFF"]}"#);
        let change = change.unwrap();
        assert_eq!((change.rate, change.count), (Edit::Set(7), Edit::Clear));
        assert!(matches!(change.levels, Edit::Set(levels) if levels.is_off()));
        for wrong in [
            "[]",
            r#"{"trace_rate":7}"#,
            r#"{"trace_rate":["7","8"]}"#,
            r#"{"trace_level":[["OFF"]]}"#,
            r#"{"trace_file":"x"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_changes_what_it_names() {
        let read = |text: &str| log_change(text.as_bytes(), &Limits::default());
        for nothing in ["", "{}", r#"{"log_info":null,"log_file":null}"#] {
            assert_eq!(read(nothing).unwrap(), Change::default());
        }
        let change = read(r#"{"log_info":false,"log_verbose_level":1}"#).unwrap();
        assert_eq!((change.info, change.verbose_level), (Some(false), Some(1)));
        for wrong in [
            "[]",
            "{",
            r#"{"log_info":1}"#,
            r#"{"log_info":False}"#,
            r#"{"log_info":[true]}"#,
            r#"{"log_file":"x"}"#,
            r#"{"log_level":1}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
