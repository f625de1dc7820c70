//! What a WFE workflow is, and what a store of workflows must do.
//!
//! * [`models`]: what a store keeps.
//! * [`traits`]: the persistence contract. Every rule of it is told there, once.
//! * [`WfeError`]: every way in which the contract can fail, and what the caller can do about it.
//! * [`clock`]: where time comes from.

pub mod clock;
mod error;
pub mod models;
pub mod traits;

pub use error::{Advice, BoxError, Kind, Result, WfeError};
