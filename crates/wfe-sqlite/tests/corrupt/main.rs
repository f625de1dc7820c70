//! Rows that do not decode, or cannot be: each spoils itself only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

mod claims;
mod commits;
mod lists;
mod loads;
mod lost;
mod support;
mod tables;
mod told;
mod unseen;
