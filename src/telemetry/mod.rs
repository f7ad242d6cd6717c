//! Metrics and logs as mechanisms: what is measured, and where, the rooms know.

mod histogram;
pub mod exposition;
pub mod logging;

pub use self::histogram::Histogram;
