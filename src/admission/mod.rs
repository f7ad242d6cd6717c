//! What is let in: the limits on everything that a client controls.

mod limits;

pub use self::limits::Limits;
