//! The core of WFE: definitions of workflows, their execution, and the persistence contract. This crate does
//! no I/O.
//!
//! * [`definition`]: the builder of workflow definitions.
//! * [`steps`]: the traits and types with which a program defines its steps.
//! * [`executor`]: the execution of an instance, as a pure state machine.
//! * [`models`]: the data that a store keeps.
//! * [`traits`]: the persistence contract, with all its rules.
//! * [`WfeError`]: every error of the contract, and what the caller can do about it.
//! * [`limits`]: the values that a store may refuse.
//! * [`redact`](redact()): removes quoted values from errors.
//! * [`clock`]: the source of time.
//! * `metrics`, with the feature `metrics`: the table of all metrics, and their handles.

pub mod clock;
mod corrupt;
pub mod definition;
mod error;
pub mod executor;
pub mod limits;
#[doc(hidden)]
pub mod logging;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod models;
mod program;
mod redact;
mod stable_hash;
pub mod steps;
#[doc(hidden)]
pub mod sync;
pub mod traits;

pub use corrupt::CorruptValues;
pub use error::{Advice, BoxError, Family, Kind, NoEffectReason, Result, RetryRefusal, WfeError};
pub use redact::redact;
pub use stable_hash::stable_hash;
