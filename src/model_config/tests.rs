//! Tests of the room, one file per step.

mod complete;
mod edit;
mod folder;
mod parse;
mod place;
mod robust;
mod typed;
mod validate;

use super::*;

/// The configuration that `text` is, in protobuf text.
fn pbtxt(text: &str) -> pb::ModelConfig {
    from_pbtxt(text, "config.pbtxt").unwrap()
}
