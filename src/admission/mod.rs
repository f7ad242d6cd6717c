//! What is let in: the gate, which every call passes, the policy that it asks, and the limits on
//! everything that a client controls. Knows no protocol: the doors say who calls and what for.

pub mod auth;
mod bucket;
mod budget;
mod gate;
mod identity;
mod limits;
mod lock;
mod pattern;
mod policy;
mod quota;
mod verb;

pub use self::{
    budget::{Budget, Charge, NO_ROOM},
    gate::{Gate, Permit},
    identity::{Identity, Principal},
    limits::Limits,
    lock::{ApiGroup, Lock, Locks, Opened},
    policy::{Policy, Refusal},
    quota::Quota,
    verb::Verb,
};
