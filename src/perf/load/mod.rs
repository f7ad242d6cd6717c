//! What is asked of a server, and when: pure.

mod arrivals;
mod popularity;

pub use self::arrivals::Distribution;
pub(super) use self::{
    arrivals::{Arrivals, intervals},
    popularity::{Popularity, zipf},
};
