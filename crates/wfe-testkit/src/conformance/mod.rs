//! The conformance suite checks what every WFE store must do. It has one case for each rule of [`wfe_core::traits`].
//!
//! Write a [`Harness`] for your store, or use [`InMemory`] or [`InFile`]. [`main`] then runs every case as a separate
//! test under `cargo test`. [`run`] runs all cases inside your program and returns a [`Report`]. The cases are
//! independent of each other and run in parallel. They take the time from a [`VirtualClock`](crate::VirtualClock), so
//! that no case sleeps.
//!
//! If a case needs an optional part that the store does not have, the case is *skipped* and the reason is shown. Such
//! parts are, for example, a step store, or contents that outlive their provider.

mod bench;
pub(crate) mod case;
mod cases;
pub(crate) mod checked;
mod harness;
mod report;
pub(crate) mod runner;
mod samples;
mod stores;
mod turns;

pub use harness::Harness;
pub use report::{CaseReport, Outcome, Report};
pub use runner::{Trials, main, run, run_only};
pub use stores::{InFile, InMemory};
pub use turns::Turns;
