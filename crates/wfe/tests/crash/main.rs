//! A process that dies right after any of its commits: whatever it was at, the workflow ends as if nothing had happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod processes;
mod schedules;
mod stories;
mod support;
