//! The model repository extension: index, load, unload.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Body, Incoming},
};
use jiter::Peek;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};

use super::{answer, metadata::document, reader::Reader};
use crate::{
    admission::{Charge, Limits},
    api::{
        Api,
        admit::Admitted,
        body::{self, Chunks},
        describe::named_repository,
        excerpt,
        load::{LoadParameters, file_path, unknown_load_parameter},
        request::unknown_parameter,
        status::TOO_LARGE,
    },
    error::{Error, Result},
    inference::ModelName,
    repository::Overrides,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IndexBody {
    repository_name: String,
    #[serde(deserialize_with = "ready")]
    ready: bool,
}

fn ready<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    let wrong = |_| D::Error::custom("Invalid value for 'ready': expected a boolean");
    bool::deserialize(value).map_err(wrong)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UnloadBody {
    parameters: Map<String, Value>,
}

/// Which models there are, and in what state.
pub(super) async fn index(api: &Admitted<'_>, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let body: IndexBody =
        parse(&read(api, body, CONTROL_BYTE_SIZE, &mut api.budget.charge()).await?)?;
    if !body.repository_name.is_empty() {
        return Err(named_repository());
    }
    api.look().await?;
    let rows: Vec<_> = api
        .index(body.ready)
        .models
        .into_iter()
        .map(|row| {
            let mut object = Map::from_iter([("name".to_owned(), Value::String(row.name))]);
            let rest = [
                ("version", row.version),
                ("state", row.state),
                ("reason", row.reason),
            ];
            for (key, value) in rest {
                if !value.is_empty() {
                    object.insert(key.to_owned(), Value::String(value));
                }
            }
            Value::Object(object)
        })
        .collect();
    Ok(document(&json!(rows)))
}

/// Loads or reloads a model; answers when it is ready.
pub(super) async fn load(api: &Admitted<'_>, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    // Files may come with a name that no model can have: do not take them in.
    ModelName::new(api.model())?;
    // Held until the model is loaded, as its files are until they are written.
    let mut charge = api.budget.charge();
    let body = read(api, body, load_byte_size(&api.limits), &mut charge).await?;
    let overrides = overrides(&body, &api.limits)?;
    // What was sent is not needed any more while the model is loaded.
    drop(body);
    api.load(overrides).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// Begins to unload a model.
pub(super) async fn unload(api: &Admitted<'_>, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let body: UnloadBody =
        parse(&read(api, body, CONTROL_BYTE_SIZE, &mut api.budget.charge()).await?)?;
    let unload_dependents = unload_dependents(&body.parameters)?;
    api.unload(unload_dependents).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// Bytes of a control call's body, besides configurations and files in it.
const CONTROL_BYTE_SIZE: usize = 1 << 20;

/// Bytes of a load call's body: a configuration inside JSON can take twice its own size, a file as
/// base64 four thirds of it.
fn load_byte_size(limits: &Limits) -> usize {
    let config = limits.config_byte_size.saturating_mul(2);
    let files = limits.load_file_byte_size.div_ceil(3).saturating_mul(4);
    CONTROL_BYTE_SIZE
        .saturating_add(config)
        .saturating_add(files)
}

async fn read(api: &Api, body: &mut Incoming, limit: usize, charge: &mut Charge) -> Result<Bytes> {
    let limit = limit.min(api.limits.request_byte_size);
    let announced = body.size_hint().lower();
    let read = body::read(body, limit, &api.patience(), charge).await;
    read.map_err(|error| match error.reason() {
        TOO_LARGE => Error::resource_exhausted(
            TOO_LARGE,
            format!(
                "request JSON size of {announced} bytes or more exceeds the maximum allowed input \
                 size of {limit} bytes for this call"
            ),
        ),
        _ => error,
    })
}

/// Reads a control call's JSON object; no body is an empty one.
///
/// # Errors
/// `InvalidArgument` with the place of what is wrong.
pub(super) fn parse<T: Default + for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let malformed = |why: &dyn std::fmt::Display| {
        Error::invalid_argument(
            "malformed_json",
            format!("failed to parse the request JSON buffer: {why}"),
        )
    };
    // A structure may also be read from an array of its fields, which is not the protocol.
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(body).map_err(|error| malformed(&error)),
        _ => Err(malformed(&"expected an object")),
    }
}

/// Depths of nesting.
const DOCUMENT: usize = 1;
const PARAMETERS: usize = 2;

/// Reads a load call's body; files are decoded where they are, without a copy of their text.
fn overrides(body: &[u8], limits: &Limits) -> Result<Overrides> {
    let mut parameters = LoadParameters::new(limits);
    if body.is_empty() {
        return Ok(parameters.finish());
    }
    let mut reader = Reader::new(body, limits);
    let is_parameters = |key: &str| key == "parameters";
    reader.object(DOCUMENT, is_parameters, |reader, is_parameters| {
        if is_parameters {
            reader.object(PARAMETERS, str::to_owned, |reader, name| {
                load_parameter(reader, &name, &mut parameters, limits)
            })
        } else {
            reader.skip(PARAMETERS).map(drop)
        }
    })?;
    reader.finish()?;
    Ok(parameters.finish())
}

fn load_parameter(
    reader: &mut Reader<'_>,
    name: &str,
    parameters: &mut LoadParameters<'_>,
    limits: &Limits,
) -> Result<()> {
    let path = file_path(name);
    if name != "config" && path.is_none() {
        return Err(unknown_load_parameter(name));
    }
    if reader.peek()? != Peek::String {
        return Err(wrong_type(name, "a string"));
    }
    reader.long_text(
        "length of a load parameter",
        load_byte_size(limits),
        |text| match path {
            Some(path) => parameters.add_file(path, decode(text, name)?),
            None => parameters.set_config(text),
        },
    )?
}

fn decode(text: &str, name: &str) -> Result<Bytes> {
    let decoded = BASE64.decode(text).map_err(|error| {
        Error::invalid_argument(
            "malformed_base64",
            format!("load parameter '{}' is not base64: {error}", excerpt(name)),
        )
    })?;
    Ok(decoded.into())
}

fn unload_dependents(parameters: &Map<String, Value>) -> Result<bool> {
    let mut dependents = false;
    for (name, value) in parameters {
        match (name.as_str(), value) {
            ("unload_dependents", Value::Bool(value)) => dependents = *value,
            ("unload_dependents", _) => return Err(wrong_type(name, "a boolean")),
            (name, _) => return Err(unknown_parameter(name)),
        }
    }
    Ok(dependents)
}

fn wrong_type(name: &str, expected: &str) -> Error {
    Error::invalid_argument(
        "parameter_type",
        format!("invalid value type for '{name}' parameter, expected {expected}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn load_parameters(json: &str) -> Result<Overrides> {
        let limits = Limits {
            config_byte_size: 16,
            load_file_byte_size: 4,
            ..Limits::default()
        };
        overrides(json.as_bytes(), &limits)
    }

    #[test]
    fn a_configuration_and_files_can_come_with_a_load() {
        for nothing in ["", "{}", r#"{"parameters":{}}"#, r#"{"other":[{}]}"#] {
            assert_eq!(load_parameters(nothing).unwrap(), Overrides::default());
        }
        let body = r#"{"parameters":{"config":"{\"a\":1}","file:1/m":"AAE=","file:1/e":""}}"#;
        let overrides = load_parameters(body).unwrap();
        assert_eq!(overrides.config.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(overrides.files[0].path, "1/m");
        assert_eq!(overrides.files[0].contents, [0, 1].as_slice());
        assert_eq!(overrides.files[1].contents, "");
    }

    #[test]
    fn load_refuses_what_it_does_not_know() {
        for (body, why) in [
            (
                r#"{"parameters":{"x":1}}"#,
                "unrecognized load parameter 'x'",
            ),
            (r#"{"parameters":{"config":1}}"#, "expected a string"),
            (
                r#"{"parameters":{"config":"01234567890123456"}}"#,
                "exceeds the limit of 16",
            ),
            (r#"{"parameters":{"file:1/m":1}}"#, "expected a string"),
            (r#"{"parameters":{"file:1/m":"A"}}"#, "is not base64"),
            (
                r#"{"parameters":{"file:1/m":"AAAAAAA="}}"#,
                "exceeds the limit of 4",
            ),
            (
                r#"{"parameters":{"file:1/m":"","file:1/m":""}}"#,
                "given twice",
            ),
            (r#"{"parameters":[]}"#, "malformed"),
            ("{", "malformed"),
            ("[]", "malformed"),
            ("{} x", "malformed"),
        ] {
            let error = load_parameters(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{body}");
            let text = format!("{} {}", error.reason(), error.message());
            assert!(text.contains(why), "{body}: {text}");
        }
    }

    #[test]
    fn unload_takes_one_boolean() {
        let dependents = |json: &str| {
            unload_dependents(&parse::<UnloadBody>(json.as_bytes()).unwrap().parameters)
        };
        assert!(!dependents("{}").unwrap());
        assert!(dependents(r#"{"parameters":{"unload_dependents":true}}"#).unwrap());
        assert!(dependents(r#"{"parameters":{"unload_dependents":1}}"#).is_err());
    }
}
