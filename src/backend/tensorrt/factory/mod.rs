//! The engine factory: from an ONNX model to a plan, once. What a plan is built by is a [`Recipe`]; what it is
//! built from is a [`Source`]. For a model that is served, a `blueprint` finds the plan in the `store`, or has a
//! `child` build it. Pure but for those, `source`, `folder` and `build`.

mod blueprint;
mod build;
mod child;
mod derive;
mod folder;
mod key;
mod recipe;
mod shapes;
mod source;
mod store;

pub(super) use self::blueprint::Turns;
pub use self::{
    build::{BuildOrder, BuildReport, replace},
    derive::recipe,
    recipe::{Hardware, Precision, Recipe},
    shapes::BuildProfile,
    source::{Digest, Source},
};
