//! Text to protocol message: protobuf text, YAML and proto JSON, each with the place of whatever is
//! wrong. Checks the schema only; what the values mean is for `validate`.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::de::DeserializeSeed;

use super::{
    ConfigError,
    bind::MessageSeed,
    fault::{Context, Dialect, Fault},
    pbtxt,
};
use crate::proto::{self, inference as pb};

/// Reads protobuf text (`config.pbtxt`).
///
/// # Errors
/// [`ConfigError::Syntax`] with the place in `text`; `file` only names it.
pub fn from_pbtxt(text: &str, file: &str) -> Result<pb::ModelConfig, ConfigError> {
    pbtxt::parse(text)
        .map_err(|fault| fault.into_error(text, file))
        .and_then(|message| typed(&message, file))
}

/// Reads YAML with the protocol's field names, in `snake_case` or `lowerCamelCase`.
///
/// # Errors
/// [`ConfigError::Syntax`] with the place in `text`; `file` only names it.
pub fn from_yaml(text: &str, file: &str) -> Result<pb::ModelConfig, ConfigError> {
    check_work(text).map_err(|fault| fault.into_error(text, file))?;
    let context = Context::new(Dialect::Yaml, text.len());
    let seed = MessageSeed::new(&MODEL_CONFIG, &context);
    let message = seed
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| {
            let offset = error.location().map_or(0, |at| {
                offset_of(text, at.line(), at.column().saturating_sub(1))
            });
            context
                .fault(text, offset, &error.to_string())
                .into_error(text, file)
        })?;
    typed(&message, file)
}

/// Reads proto JSON, field names in `snake_case` or `lowerCamelCase`.
///
/// # Errors
/// [`ConfigError::Syntax`] with the place in `text`; `file` only names it.
pub fn from_json(text: &str, file: &str) -> Result<pb::ModelConfig, ConfigError> {
    let context = Context::new(Dialect::Json, text.len());
    let mut reader = serde_json::Deserializer::from_str(text);
    let message = MessageSeed::new(&MODEL_CONFIG, &context)
        .deserialize(&mut reader)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|error| {
            // This parser counts columns in bytes, up to and including the last byte it looked at.
            let line_start = offset_of(text, error.line(), 0);
            let offset = line_start.saturating_add(error.column()).min(text.len());
            context
                .fault(text, offset, &error.to_string())
                .into_error(text, file)
        })?;
    typed(&message, file)
}

/// Most bytes times opening brackets of a YAML text: about a second's work.
const YAML_WORK_LIMIT: usize = 1 << 30;

/// The YAML scanner's time for a token grows with the number of open brackets, and only the scanner
/// itself can tell how many are open. So the text is bounded by the worst that it could be.
fn check_work(text: &str) -> Result<(), Fault> {
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{'));
    if text.len().saturating_mul(brackets.count()) <= YAML_WORK_LIMIT {
        return Ok(());
    }
    Err(Fault {
        offset: 0,
        message: "too many brackets for so long a text; write its lists and mappings by \
                  indentation, or use config.pbtxt"
            .to_owned(),
    })
}

/// The schema of a model configuration.
#[expect(
    clippy::expect_used,
    reason = "the descriptors are compiled in; every test of this room would fail"
)]
pub(super) static MODEL_CONFIG: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    DescriptorPool::decode(proto::DESCRIPTORS)
        .ok()
        .and_then(|pool| pool.get_message_by_name("inference.ModelConfig"))
        .expect("compiled-in descriptors")
});

fn typed(message: &DynamicMessage, file: &str) -> Result<pb::ModelConfig, ConfigError> {
    message
        .transcode_to()
        .map_err(|error| ConfigError::Invalid(format!("{file}: {error}")))
}

/// The byte offset of a line (from 1) and a number of characters into it.
fn offset_of(text: &str, line: usize, characters: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(newlines) => text
            .match_indices('\n')
            .nth(newlines)
            .map_or(text.len(), |(newline, _)| newline + 1),
    };
    text.get(line_start..)
        .and_then(|rest| rest.char_indices().nth(characters))
        .map_or(text.len(), |(offset, _)| line_start + offset)
}
