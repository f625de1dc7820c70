//! Runs the command `wfe` as people and scripts do: on a terminal, in a pipe, beside hosts, on broken and hostile stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod dashboard;
mod earlier;
mod examples;
mod exits;
mod hostile;
mod live;
mod run;
mod screens;
mod store;
mod terminal;
mod transcripts;
mod untouched;
