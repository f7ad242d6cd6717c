//! What the kernels compute, in plain Rust: the CPU's way, and what the kernels are held against. Where
//! nothing else is said they agree to the bit.
//!
//! The test-only `crates/fake-cuda` compiles this folder again, to emulate kernels with it: so it uses
//! nothing but `half` and `tensor::top_k`.

mod cast;
mod gather;
mod image;
mod scores;

pub use self::{
    cast::{FromF32, cast},
    gather::{Piece, gather, scatter},
    image::{Image, preprocess},
    scores::{softmax, softmax_top_k},
};
