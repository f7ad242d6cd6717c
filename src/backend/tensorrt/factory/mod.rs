//! The engine factory: from an ONNX model to a plan. What a plan is built by is a [`Recipe`]; what it is built
//! from is a [`Source`]. Pure but for `source` and `build`.

mod build;
mod derive;
mod recipe;
mod shapes;
mod source;

pub use self::{
    build::{BuildOrder, BuildReport, replace},
    derive::recipe,
    recipe::{Hardware, Precision, Recipe},
    shapes::BuildProfile,
    source::{Digest, Source},
};
