//! Binds YAML and JSON to the schema while they are being read, so that what is wrong is found
//! where it stands. Recursion follows the schema, which does not recurse.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    fault::{Context, Dialect},
    scalar::{self, Scalar},
    suggest::{short_name, shown, unknown_field},
};

/// Reads a whole document as one message.
pub(super) struct MessageSeed<'a> {
    descriptor: &'a MessageDescriptor,
    context: &'a Context,
}

impl<'a> MessageSeed<'a> {
    pub(super) fn new(descriptor: &'a MessageDescriptor, context: &'a Context) -> Self {
        Self {
            descriptor,
            context,
        }
    }
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<DynamicMessage, D::Error> {
        let seed = ValueSeed {
            key: "",
            want: Want::One(Kind::Message(self.descriptor.clone())),
            context: self.context,
        };
        match seed.deserialize(deserializer)? {
            Some(Value::Message(message)) => Ok(message),
            // An empty document.
            _ => Ok(DynamicMessage::new(self.descriptor.clone())),
        }
    }
}

/// What a field takes.
enum Want {
    One(Kind),
    List(Kind),
    /// The map's entry message.
    Map(MessageDescriptor),
}

impl Want {
    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => Self::Map(entry),
            kind if field.is_list() => Self::List(kind),
            kind => Self::One(kind),
        }
    }
}

/// Reads the value of one key; `None` for null.
struct ValueSeed<'a> {
    key: &'a str,
    want: Want,
    context: &'a Context,
}

impl ValueSeed<'_> {
    fn scalar<E: Error>(&self, scalar: Scalar<'_>) -> Result<Option<Value>, E> {
        self.context.spend(self.key, 1 + scalar.byte_size())?;
        let bound = match &self.want {
            Want::One(kind) => scalar::bind(kind, &scalar),
            Want::List(_) | Want::Map(_) => Err(self.mismatch(&scalar.to_string())),
        };
        bound.map(Some).map_err(|reason| self.blame(&reason))
    }

    fn mismatch(&self, found: &str) -> String {
        let expected = match &self.want {
            Want::One(kind) => scalar::expected(kind),
            Want::List(_) => "a list",
            Want::Map(_) => "a mapping",
        };
        format!("expected {expected}, but found {found}")
    }

    fn blame<E: Error>(&self, reason: &str) -> E {
        let message = match self.key {
            "" => reason.to_owned(),
            key => format!("field '{}': {reason}", shown(key)),
        };
        self.context.fail(self.key, false, message)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // YAML would read the text 1.10 as a number.
        let text = matches!(self.want, Want::One(Kind::String));
        if text && self.context.dialect == Dialect::Yaml {
            deserializer.deserialize_option(self)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.want {
            Want::One(kind) => scalar::expected(kind),
            Want::List(_) => "a list",
            Want::Map(_) => "a mapping",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Real(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.scalar(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Want::List(kind) = &self.want else {
            return Err(self.blame(&self.mismatch("a list")));
        };
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(ValueSeed {
            key: self.key,
            want: Want::One(kind.clone()),
            context: self.context,
        })? {
            self.context.spend(self.key, 1)?;
            match value {
                Some(value) => values.push(value),
                None => return Err(self.blame("a list cannot hold null")),
            }
        }
        Ok(Some(Value::List(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        match &self.want {
            Want::One(Kind::Message(descriptor)) => {
                read_message(entries, descriptor, self.context).map(Value::Message)
            }
            Want::Map(entry) => read_map(entries, entry, self.context).map(Value::Map),
            Want::One(_) | Want::List(_) => return Err(self.blame(&self.mismatch("a mapping"))),
        }
        .map(Some)
    }
}

fn read_message<'de, A: MapAccess<'de>>(
    mut entries: A,
    descriptor: &MessageDescriptor,
    context: &Context,
) -> Result<DynamicMessage, A::Error> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut seen = BTreeSet::new();
    while let Some((key, field)) = entries.next_key_seed(FieldSeed {
        descriptor,
        seen: &mut seen,
        context,
    })? {
        let seed = ValueSeed {
            key: &key,
            want: Want::of(&field),
            context,
        };
        // Null means "not given", as in proto JSON.
        if let Some(value) = entries.next_value_seed(seed)? {
            message.set_field(&field, value);
        }
    }
    Ok(message)
}

fn read_map<'de, A: MapAccess<'de>>(
    mut entries: A,
    entry: &MessageDescriptor,
    context: &Context,
) -> Result<HashMap<MapKey, Value>, A::Error> {
    let value_kind = entry.map_entry_value_field().kind();
    let key_kind = entry.map_entry_key_field().kind();
    let mut map = HashMap::new();
    while let Some(text) = entries.next_key_seed(KeySeed(context))? {
        let Some(key) = scalar::map_key(&key_kind, &text) else {
            let message = format!(
                "key '{}': expected {}",
                shown(&text),
                scalar::expected(&key_kind)
            );
            return Err(context.fail(&text, true, message));
        };
        let seed = ValueSeed {
            key: &text,
            want: Want::One(value_kind.clone()),
            context,
        };
        let Some(value) = entries.next_value_seed(seed)? else {
            let message = format!("key '{}' has no value", shown(&text));
            return Err(context.fail(&text, false, message));
        };
        if map.insert(key, value).is_some() {
            let message = format!("key '{}' is given twice", shown(&text));
            return Err(context.fail(&text, false, message));
        }
    }
    Ok(map)
}

/// Reads a key as text.
struct KeySeed<'a>(&'a Context);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.0.spend(key, 1 + key.len())?;
        Ok(key.to_owned())
    }
}

/// Reads a key as the name of a field that was not given before.
struct FieldSeed<'a> {
    descriptor: &'a MessageDescriptor,
    /// Numbers of the fields given before.
    seen: &'a mut BTreeSet<u32>,
    context: &'a Context,
}

impl FieldSeed<'_> {
    fn field(&mut self, name: &str) -> Result<FieldDescriptor, String> {
        let field = self
            .descriptor
            .get_field_by_name(name)
            .or_else(|| self.descriptor.get_field_by_json_name(name))
            .ok_or_else(|| unknown_field(name, self.descriptor))?;
        if !self.seen.insert(field.number()) {
            return Err(format!("field '{}' is given twice", shown(name)));
        }
        if let Some(choice) = field.containing_oneof() {
            let rival = choice.fields().find(|other| {
                other.number() != field.number() && self.seen.contains(&other.number())
            });
            if let Some(rival) = rival {
                return Err(format!(
                    "field '{}' excludes '{}', which is given too, in {}",
                    field.name(),
                    rival.name(),
                    short_name(self.descriptor.full_name())
                ));
            }
        }
        Ok(field)
    }
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = (String, FieldDescriptor);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed<'_> {
    type Value = (String, FieldDescriptor);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(mut self, name: &str) -> Result<Self::Value, E> {
        self.context.spend(name, 1)?;
        match self.field(name) {
            Ok(field) => Ok((name.to_owned(), field)),
            Err(message) => Err(self.context.fail(name, true, message)),
        }
    }
}
