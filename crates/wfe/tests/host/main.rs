//! The host on every kind of store: in memory, on a file, and on a provider that has only the plain traits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod control;
mod failures;
mod idle;
mod loops;
mod recovery;
mod sharing;
mod shutdown;
mod starting;
mod storing;
mod support;
mod threads;
mod verbs;
