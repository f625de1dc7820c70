//! The conformance suite: what every WFE store must do, one case for each rule of [`wfe_core::traits`].
//!
//! Write a [`Harness`] for your store, or use [`InMemory`] or [`InFile`]; [`main`] then runs every case as a test of its own under `cargo test`, and
//! [`run`] runs them all inside a program of yours and returns a [`Report`]. Cases are independent of each other, run
//! side by side, and take their time from a [`VirtualClock`](crate::VirtualClock): none sleeps.
//!
//! A rule about something that a store need not have (a step store, a life after its provider) is *skipped*, with the
//! reason shown, where the store does not have it.

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
