//! Scalars of YAML and JSON as the schema's kinds, with proto JSON's liberties: integers as text,
//! whole numbers written as reals, enums by number or by name in any case.

use std::{fmt, str::FromStr};

use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};

use super::suggest::{shown, unknown_value};

/// A scalar as its language gives it.
pub(super) enum Scalar<'a> {
    Bool(bool),
    Integer(i128),
    Real(f64),
    Text(&'a str),
}

impl Scalar<'_> {
    pub(super) fn byte_size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bool(_) | Self::Integer(_) | Self::Real(_) => 1,
        }
    }

    fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        let integer = match self {
            Self::Integer(value) => *value,
            Self::Real(value) if value.fract() == 0.0 => format!("{value:.0}").parse().ok()?,
            Self::Text(text) => text.parse().ok()?,
            Self::Real(_) | Self::Bool(_) => return None,
        };
        T::try_from(integer).ok()
    }

    /// By way of text: the nearest value of either width, without a cast that could lose a range.
    fn real<T: FromStr>(&self) -> Option<T> {
        match self {
            Self::Integer(value) => value.to_string().parse().ok(),
            Self::Real(value) => value.to_string().parse().ok(),
            Self::Text(text) => text.parse().ok(),
            Self::Bool(_) => None,
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "'{}'", shown(text)),
        }
    }
}

/// `scalar` as `kind`, or what is wrong with it.
pub(super) fn bind(kind: &Kind, scalar: &Scalar<'_>) -> Result<Value, String> {
    if let Kind::Enum(descriptor) = kind {
        return bind_enum(descriptor, scalar).map(Value::EnumNumber);
    }
    let value = match kind {
        Kind::Bool => match scalar {
            Scalar::Bool(value) => Some(Value::Bool(*value)),
            _ => None,
        },
        Kind::String => match scalar {
            Scalar::Text(text) => Some(Value::String((*text).to_owned())),
            _ => None,
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => scalar.integer().map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => scalar.integer().map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => scalar.integer().map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => scalar.integer().map(Value::U64),
        Kind::Float => scalar.real().map(Value::F32),
        Kind::Double => scalar.real().map(Value::F64),
        Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
    };
    value.ok_or_else(|| format!("expected {}, but found {scalar}", expected(kind)))
}

fn bind_enum(descriptor: &EnumDescriptor, scalar: &Scalar<'_>) -> Result<i32, String> {
    let found = match scalar {
        Scalar::Text(name) => descriptor
            .values()
            .find(|value| value.name().eq_ignore_ascii_case(name)),
        other => other
            .integer()
            .and_then(|number| descriptor.get_value(number)),
    };
    found
        .map(|value| value.number())
        .ok_or_else(|| match scalar {
            Scalar::Text(name) => unknown_value(name, descriptor),
            other => unknown_value(&other.to_string(), descriptor),
        })
}

/// `text` as a map's key.
pub(super) fn map_key(kind: &Kind, text: &str) -> Option<MapKey> {
    match kind {
        Kind::String => Some(MapKey::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().ok().map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().ok().map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => text.parse().ok().map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => text.parse().ok().map(MapKey::U64),
        Kind::Float | Kind::Double | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
    }
}

/// What a value of `kind` is called in messages.
pub(super) fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::String | Kind::Bytes => "text",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a 32-bit integer",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a 64-bit integer",
        Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer",
        Kind::Uint64 | Kind::Fixed64 => "an unsigned 64-bit integer",
        Kind::Float | Kind::Double => "a number",
        Kind::Message(_) => "a mapping",
        Kind::Enum(_) => "one of an enum's names",
    }
}
