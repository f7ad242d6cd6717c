//! Tests of the room: its pure parts on tables and a virtual clock, and the control loop with a
//! loader that does what the test says.

mod control;
mod files;
mod lifecycle;
mod plan;
mod replacement;
mod rig;
mod settle;
mod source;

use crate::inference::ModelName;

fn name(text: &str) -> ModelName {
    ModelName::new(text).unwrap()
}
