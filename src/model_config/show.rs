//! A configuration as `GET /v2/models/<model>/config` shows it.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::parse::MODEL_CONFIG;
use crate::proto::inference as pb;

/// Triton's JSON form: `snake_case` names in the schema's order, enums by name, every scalar and
/// list printed even at its default, 64-bit integers as numbers; messages that are not set are
/// left out.
pub fn to_json(config: &pb::ModelConfig) -> String {
    let mut message = DynamicMessage::new(MODEL_CONFIG.clone());
    // Both sides are the same schema: neither step has anything to refuse.
    match message.transcode_from(config) {
        Ok(()) => serde_json::to_string(&Shown(&message)).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

struct Shown<'a>(&'a DynamicMessage);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let descriptor = message.descriptor();
        let mut map = serializer.serialize_map(None)?;
        // The reflected fields come by number; the schema's own order reads better.
        for declared in &descriptor.descriptor_proto().field {
            let Some(field) = descriptor.get_field_by_name(declared.name()) else {
                continue;
            };
            if field.supports_presence() && !message.has_field(&field) {
                continue;
            }
            let value = message.get_field(&field);
            map.serialize_entry(field.name(), &ShownValue(&value, &field.kind()))?;
        }
        map.end()
    }
}

struct ShownValue<'a>(&'a Value, &'a Kind);

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, kind) = *self;
        match value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::U64(value) => serializer.serialize_u64(*value),
            Value::F32(value) => real(f64::from(*value), serializer, |s| s.serialize_f32(*value)),
            Value::F64(value) => real(*value, serializer, |s| s.serialize_f64(*value)),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_bytes(value),
            Value::EnumNumber(number) => match named(kind, *number) {
                Some(name) => serializer.serialize_str(&name),
                None => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Shown(message).serialize(serializer),
            Value::List(values) => {
                serializer.collect_seq(values.iter().map(|value| ShownValue(value, kind)))
            }
            Value::Map(entries) => {
                let value_kind = match kind {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    other => other.clone(),
                };
                let sorted: BTreeMap<_, _> = entries
                    .iter()
                    .map(|(key, value)| (key_text(key), ShownValue(value, &value_kind)))
                    .collect();
                serializer.collect_map(sorted)
            }
        }
    }
}

/// JSON has no infinities; proto JSON writes them as text.
fn real<S: Serializer>(
    value: f64,
    serializer: S,
    write: impl FnOnce(S) -> Result<S::Ok, S::Error>,
) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        write(serializer)
    } else if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value > 0.0 {
        serializer.serialize_str("Infinity")
    } else {
        serializer.serialize_str("-Infinity")
    }
}

fn named(kind: &Kind, number: i32) -> Option<String> {
    kind.as_enum()?
        .get_value(number)
        .map(|value| value.name().to_owned())
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
