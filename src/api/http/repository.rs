//! The model repository extension: index, load, unload.

use bytes::Bytes;
use hyper::{Response, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, metadata::document};
use crate::{
    api::{
        Api,
        body::{self, Chunks},
        describe::named_repository,
        request::{unknown_parameter, within},
        unsupported,
    },
    error::{Error, Result},
    inference::ModelName,
    repository::Overrides,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IndexBody {
    repository_name: String,
    ready: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ControlBody {
    parameters: Map<String, Value>,
}

/// Which models there are, and in what state.
pub(super) async fn index(api: &Api, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let body: IndexBody = parse(&read(api, body).await?)?;
    if !body.repository_name.is_empty() {
        return Err(named_repository());
    }
    api.repository.look().await?;
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
pub(super) async fn load(api: &Api, name: &str, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let model = ModelName::new(name)?;
    let body: ControlBody = parse(&read(api, body).await?)?;
    let overrides = overrides(body.parameters, api.limits.config_byte_size)?;
    api.repository.load(model, overrides).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// Begins to unload a model.
pub(super) async fn unload(api: &Api, name: &str, body: &mut Incoming) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let model = ModelName::new(name)?;
    let body: ControlBody = parse(&read(api, body).await?)?;
    let unload_dependents = unload_dependents(&body.parameters)?;
    api.repository.unload(model, unload_dependents).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// A control call's body: a configuration inside JSON can take twice its own size.
async fn read(api: &Api, body: &mut Incoming) -> Result<Bytes> {
    const FRAME_BYTE_SIZE: usize = 64 << 10;
    let twice = api.limits.config_byte_size.saturating_mul(2);
    let limit = twice.saturating_add(FRAME_BYTE_SIZE);
    body::read(
        body,
        limit.min(api.limits.request_byte_size),
        &api.patience(),
    )
    .await
}

fn parse<T: Default + for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T> {
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

fn overrides(parameters: Map<String, Value>, config_byte_size: usize) -> Result<Overrides> {
    let mut overrides = Overrides::default();
    for (name, value) in parameters {
        match (name.as_str(), value) {
            ("config", Value::String(config)) => {
                within(
                    "length of parameter 'config'",
                    config.len(),
                    config_byte_size,
                )?;
                overrides.config = Some(config);
            }
            ("config", _) => return Err(wrong_type("config", "a string")),
            (name, _) if name.starts_with("file:") => {
                return Err(unsupported("model_repository(file override)"));
            }
            (name, _) => return Err(unknown_parameter(name)),
        }
    }
    Ok(overrides)
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
        overrides(parse::<ControlBody>(json.as_bytes())?.parameters, 16)
    }

    #[test]
    fn a_configuration_can_come_with_a_load() {
        assert_eq!(load_parameters("").unwrap(), Overrides::default());
        let config = load_parameters(r#"{"parameters":{"config":"{}"}}"#)
            .unwrap()
            .config;
        assert_eq!(config.as_deref(), Some("{}"));
    }

    #[test]
    fn load_refuses_what_it_does_not_know() {
        for (body, kind) in [
            (r#"{"parameters":{"x":1}}"#, ErrorKind::InvalidArgument),
            (r#"{"parameters":{"config":1}}"#, ErrorKind::InvalidArgument),
            (
                r#"{"parameters":{"config":"01234567890123456"}}"#,
                ErrorKind::InvalidArgument,
            ),
            (
                r#"{"parameters":{"file:1/m":"AA=="}}"#,
                ErrorKind::Unimplemented,
            ),
            ("{", ErrorKind::InvalidArgument),
            ("[]", ErrorKind::InvalidArgument),
        ] {
            assert_eq!(load_parameters(body).unwrap_err().kind(), kind, "{body}");
        }
    }

    #[test]
    fn unload_takes_one_boolean() {
        let dependents = |json: &str| {
            unload_dependents(&parse::<ControlBody>(json.as_bytes()).unwrap().parameters)
        };
        assert!(!dependents("{}").unwrap());
        assert!(dependents(r#"{"parameters":{"unload_dependents":true}}"#).unwrap());
        assert!(dependents(r#"{"parameters":{"unload_dependents":1}}"#).is_err());
    }
}
