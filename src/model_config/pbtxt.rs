//! Protobuf text. The parser is the reflection library's; before it runs, this file bounds the
//! nesting and closes a gap in its grammar, and afterwards it gives errors their key.

use miette::Diagnostic;
use prost_reflect::{DescriptorPool, DynamicMessage, text_format::ParseError};

use super::{
    fault::Fault,
    parse::MODEL_CONFIG,
    suggest::{shown, unknown_field, unknown_value},
};

/// Deepest nesting of braces and brackets.
const DEPTH_LIMIT: usize = 100;

/// What the parser says it expected when a value, not the grammar, is at fault.
const VALUE_EXPECTED: [&str; 8] = [
    "expected value to be ",
    "expected a number,",
    "expected an integer,",
    "expected 'true' or 'false',",
    "expected 0 or 1,",
    "expected a string,",
    "expected an enum value,",
    "expected '{' or '<',",
];

pub(super) fn parse(text: &str) -> Result<DynamicMessage, Fault> {
    let prepared = prepare(text)?;
    DynamicMessage::parse_text_format(MODEL_CONFIG.clone(), &prepared.text)
        .map_err(|error| prepared.fault(&error))
}

/// The text as the parser takes it.
struct Prepared {
    text: String,
    /// Where colons were put in, ascending.
    inserted: Vec<usize>,
    /// Where field names begin and end, ascending. All offsets are those of the prepared text.
    keys: Vec<(usize, usize)>,
}

/// The kind of the last token, as far as the next one depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Name(usize, usize),
    Colon,
    Other,
}

/// Puts the colon that protobuf text may leave out, and this parser does not, between a field's
/// name and a list: `input [ { … } ]`.
fn prepare(text: &str) -> Result<Prepared, Fault> {
    let mut prepared = Prepared {
        text: String::with_capacity(text.len() + 64),
        inserted: Vec::new(),
        keys: Vec::new(),
    };
    let (mut at, mut depth, mut last) = (0, 0_usize, Last::Other);
    while let Some(&byte) = text.as_bytes().get(at) {
        let end = token_end(text.as_bytes(), at);
        let opens = matches!(byte, b'{' | b'<' | b'[');
        if let Last::Name(from, to) = last
            && (opens || byte == b':')
        {
            prepared.keys.push((from, to));
            if byte == b'[' {
                prepared.inserted.push(prepared.text.len());
                prepared.text.push(':');
            }
        }
        if opens {
            depth += 1;
        } else if matches!(byte, b'}' | b'>' | b']') {
            depth = depth.saturating_sub(1);
        }
        if depth > DEPTH_LIMIT {
            return Err(Fault {
                offset: at,
                message: format!("nested more than {DEPTH_LIMIT} levels deep"),
            });
        }
        let begin = prepared.text.len();
        prepared
            .text
            .push_str(text.get(at..end).unwrap_or_default());
        last = match byte {
            b'#' => last,
            _ if byte.is_ascii_whitespace() => last,
            b':' => Last::Colon,
            // What follows a colon is a value even if it looks like a name.
            _ if is_name_start(byte) && last != Last::Colon => {
                Last::Name(begin, prepared.text.len())
            }
            _ => Last::Other,
        };
        at = end;
    }
    Ok(prepared)
}

/// Where the token that begins at `at` ends; always further on, and on a character's boundary.
pub(super) fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let first = rest.first().copied().unwrap_or_default();
    let length = match first {
        b'#' => rest.iter().position(|&byte| byte == b'\n'),
        b'"' | b'\'' => Some(string_length(rest, first)),
        _ if is_word(first) => rest.iter().position(|&byte| !is_word(byte)),
        _ if first.is_ascii() => Some(1),
        _ => rest.iter().position(u8::is_ascii),
    };
    at + length.unwrap_or(rest.len())
}

/// Length of the string at the start of `rest`, quotes included. It ends with its line at the
/// latest, as the parser refuses longer ones.
fn string_length(rest: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    for (index, &byte) in rest.iter().enumerate().skip(1) {
        match byte {
            b'\n' => return index,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

impl Prepared {
    fn fault(&self, error: &ParseError) -> Fault {
        let said = error.to_string();
        let at = error
            .labels()
            .and_then(|mut labels| labels.next())
            .map_or(self.text.len(), |label| label.offset());
        let (at, message) = self.explain(at, said);
        Fault {
            offset: at - self.inserted.partition_point(|&colon| colon < at),
            message,
        }
    }

    /// Our words and our place for what the parser says. It keeps its error kinds to itself, so
    /// they are told by their text; the tests of this room hold each of them.
    fn explain(&self, at: usize, said: String) -> (usize, String) {
        let pool = MODEL_CONFIG.parent_pool();
        if let Some((name, message)) = between(&said, "field '", "' not found for message '") {
            let message = pool.get_message_by_name(message);
            return match message {
                Some(message) => (at, unknown_field(name, &message)),
                None => (at, said),
            };
        }
        let Some((key_at, key)) = self.key_before(at) else {
            return (at, said);
        };
        if let Some(fault) = unknown_enum_value(pool, &said) {
            return (key_at, format!("field '{key}': {fault}"));
        }
        if said.ends_with("' is already set") {
            return (key_at, format!("field '{key}' is given twice"));
        }
        let at_value = VALUE_EXPECTED.iter().any(|start| said.starts_with(start));
        if at_value || said.starts_with("a value is already set for oneof") {
            return (key_at, format!("field '{key}': {said}"));
        }
        (at, said)
    }

    fn key_before(&self, at: usize) -> Option<(usize, String)> {
        let later = self.keys.partition_point(|&(from, _)| from < at);
        let &(from, to) = self.keys.get(later.checked_sub(1)?)?;
        Some((from, shown(self.text.get(from..to)?)))
    }
}

fn unknown_enum_value(pool: &DescriptorPool, said: &str) -> Option<String> {
    let (value, kind) = between(said, "value '", "' was not found for enum '")?;
    Some(unknown_value(value, &pool.get_enum_by_name(kind)?))
}

/// The two quoted names of `<before>A<middle>B'`.
fn between<'a>(said: &'a str, before: &str, middle: &str) -> Option<(&'a str, &'a str)> {
    said.strip_prefix(before)?
        .strip_suffix('\'')?
        .split_once(middle)
}
