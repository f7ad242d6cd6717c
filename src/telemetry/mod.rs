//! Metrics and logs as mechanisms: what is measured, and where, the rooms know.

pub mod exposition;
mod histogram;
pub mod logging;
pub mod nvml;

pub use self::histogram::Histogram;
