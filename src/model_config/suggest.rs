//! Messages for names that the schema does not know, with the nearest one that it does.

use prost_reflect::{EnumDescriptor, MessageDescriptor};

/// Longest part of a name from the text that a message repeats, in characters.
const SHOWN: usize = 64;

/// Similarity (Jaro-Winkler, 0 to 1) from which a name is worth suggesting.
const NEAR: f64 = 0.8;

/// Datatypes as other systems call them.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("BFLOAT16", "BF16"),
    ("BYTES", "STRING"),
    ("DOUBLE", "FP64"),
    ("FLOAT", "FP32"),
    ("FLOAT16", "FP16"),
    ("FLOAT32", "FP32"),
    ("FLOAT64", "FP64"),
    ("HALF", "FP16"),
    ("LONG", "INT64"),
];

/// `unknown field 'x' in M, did you mean 'y'?`
pub(super) fn unknown_field(name: &str, message: &MessageDescriptor) -> String {
    let fields: Vec<_> = message.fields().collect();
    let names = fields.iter().map(|field| field.name());
    format!(
        "unknown field '{}' in {}{}",
        shown(name),
        short_name(message.full_name()),
        did_you_mean(name, names)
    )
}

/// `unknown value 'X' of E, did you mean 'Y'?`
pub(super) fn unknown_value(name: &str, kind: &EnumDescriptor) -> String {
    let values: Vec<_> = kind.values().collect();
    let names = values.iter().map(|value| value.name());
    let bare = name.strip_prefix("TYPE_").unwrap_or(name);
    let meant = OTHER_NAMES
        .iter()
        .find(|(other, _)| bare.eq_ignore_ascii_case(other))
        .map_or(bare, |(_, ours)| ours);
    // The names share a prefix that is easily forgotten.
    let whole = names
        .clone()
        .find(|valid| valid.split_once('_').is_some_and(|(_, rest)| rest == meant));
    let name_or_whole = whole.unwrap_or(name);
    format!(
        "unknown value '{}' of {}{}",
        shown(name),
        short_name(kind.full_name()),
        did_you_mean(name_or_whole, names)
    )
}

/// The name as users know it, without the protocol's package.
pub(super) fn short_name(full_name: &str) -> &str {
    full_name.strip_prefix("inference.").unwrap_or(full_name)
}

/// A name from the text, made safe to print.
pub(super) fn shown(name: &str) -> String {
    let start: String = name.chars().take(SHOWN).collect();
    let more = if start.len() < name.len() { "…" } else { "" };
    format!("{}{more}", start.escape_debug())
}

/// `, did you mean 'x'?` with the valid name that is near, or nothing.
pub fn did_you_mean<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> String {
    // The comparison is quadratic; nobody misspells a field by a whole page.
    if name.len() > SHOWN {
        return String::new();
    }
    let lower = name.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in valid {
        let near = strsim::jaro_winkler(&lower, &candidate.to_lowercase());
        if near >= NEAR && best.is_none_or(|(most, _)| near > most) {
            best = Some((near, candidate));
        }
    }
    best.map_or_else(String::new, |(_, name)| format!(", did you mean '{name}'?"))
}
