//! The synchronisation types of the rooms that loom checks. `tests/loom.rs` compiles those files
//! again with a `sync` of its own that holds loom's types.

pub use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
