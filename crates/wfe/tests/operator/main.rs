//! What an operator can ask and do, on a store in memory and on a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod acts;
mod bulk;
mod follow;
mod questions;
mod redaction;
mod rights;
mod stuck;
mod support;
mod why;
