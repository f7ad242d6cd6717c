//! A load generator for any server that speaks KServe v2: closed and open loops, levels and searches,
//! and reports. It shares nothing with our own server but the messages, and treats it as any other.
//!
//! The protocols are written here once more, from the client's side, so that the generator costs
//! little: requests are bytes that were made beforehand, and answers are read no further than to their
//! end, but for a sample that is checked. They speak what is needed to ask a server, and no more.

mod control;
mod cpu;
mod crew;
mod data;
mod driver;
mod encryption;
mod gather;
mod histogram;
mod inside;
mod interrupt;
mod level;
mod load;
mod measure;
mod model;
mod number;
mod random;
mod report;
mod request;
mod run;
mod search;
mod sequence;
mod server;
mod settings;
mod shared;
mod stability;
mod verify;
mod wire;

pub use self::{
    data::{Data, Source, Tensor},
    encryption::{Encryption, unverified},
    inside::Inside,
    interrupt::Interrupt,
    level::{
        Client, Latency, Level, LevelLoad, LevelTotals, ModelLevel, Moment, Report, Server,
        ServerSide, SloResult,
    },
    load::Distribution,
    number::Range,
    report::{csv, html, json, table},
    request::{ParameterValue, RequestSettings, TensorFormat},
    run::{run, run_inside},
    sequence::SequenceSettings,
    settings::{Load, Measurement, ModelChoice, Protocol, Settings, Slo, Target},
    shared::SharedMemory,
};

/// The weight of the model of that rank by Zipf's law with this exponent; the first rank is 0.
pub fn zipf_weight(rank: usize, exponent: f64) -> f64 {
    load::zipf(rank, exponent)
}

/// How far a level is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The level.
    pub load: LevelLoad,
    /// Windows that are over.
    pub window: usize,
    /// Windows that there will be at most.
    pub most_windows: usize,
    /// Of the last window.
    pub requests_per_second: Option<f64>,
    /// Of the last window: the percentile that was asked for, or the mean.
    pub latency_us: Option<f64>,
}
