//! Instances: threads that run executors.

mod source;

pub use self::source::BatchSource;
