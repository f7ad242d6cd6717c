//! Despina: a GPU-first inference server for many models at once.
//!
//! The rooms, from the ground up; imports go down only (`docs/architecture.md`):
//!
//! | floor | rooms |
//! | --- | --- |
//! | 0 | [`error`], [`sync`], [`proto`], [`strict_yaml`] |
//! | 1 | [`follow`], [`telemetry`], [`tensor`] |
//! | 2 | [`admission`], [`device`], [`inference`], [`model_config`] |
//! | 3 | [`backend`], [`placement`], [`shared_memory`], [`trace`] |
//! | 4 | [`instance`] |
//! | 5 | [`scheduler`] |
//! | 6 | [`model`] |
//! | 7 | [`repository`] |
//! | 8 | [`api`] |
//! | 9 | [`config`] |
//! | 10 | [`server`] |
//! | 11 | [`perf`] |
//! | 12 | [`tune`] |
//! | 13 | [`cli`] |

pub mod error;
pub mod proto;
pub mod strict_yaml;
pub mod sync;

pub mod follow;
pub mod telemetry;
pub mod tensor;

pub mod admission;
pub mod device;
pub mod inference;
pub mod model_config;

pub mod backend;
pub mod placement;
pub mod shared_memory;
pub mod trace;

pub mod instance;

pub mod scheduler;

pub mod model;

pub mod repository;

pub mod api;

pub mod config;

pub mod server;

pub mod perf;

pub mod tune;

pub mod cli;
