//! What a WFE workflow is, and what a store of workflows must do.
//!
//! * [`models`]: what a store keeps.
//! * [`traits`]: the persistence contract. Every rule of it is told there, once.
//! * [`definition`]: what a workflow does; [`steps`]: what a user's code sees.
//! * [`executor`]: how an instance moves, without any I/O.
//! * [`WfeError`]: every way in which the contract can fail, and what the caller can do about it.
//! * [`limits`]: which values no store need hold.
//! * [`redact`](redact()): errors without the values that they quote.
//! * [`clock`]: where time comes from.

pub mod clock;
mod corrupt;
pub mod definition;
mod error;
pub mod executor;
pub mod limits;
#[doc(hidden)]
pub mod logging;
pub mod models;
mod program;
mod redact;
pub mod steps;
pub mod traits;

pub use corrupt::CorruptValues;
pub use error::{Advice, BoxError, Kind, Result, WfeError};
pub use redact::redact;
