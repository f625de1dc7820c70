//! Suspects, whose process has died twice, in hosts of one process: who waits for whom, and what goes on meanwhile. (How they
//! come to be: `tests/processes`.) All of them share what is one for a process, so one test runs at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod bystanders;
mod harness;
mod waiting;
