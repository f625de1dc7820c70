//! The conformance suite: what every WFE store must do, with one case for each rule of [`wfe_core::traits`].
//!
//! Write a [`Harness`] for your store, or use [`InMemory`] or [`InFile`]. [`main`] then runs every case as a test of
//! its own under `cargo test`. [`run`] runs all cases inside your program and returns a [`Report`]. Cases are
//! independent of each other, run in parallel, and take their time from a [`VirtualClock`](crate::VirtualClock): none
//! sleeps.
//!
//! A case is *skipped*, and the reason is shown, if it needs an optional part that the store does not have, such as a
//! step store, or contents that outlive their provider.

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
