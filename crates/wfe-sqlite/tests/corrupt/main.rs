//! Rows that do not decode, or are impossible: each affects only itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

mod checks;
mod claims;
mod commits;
mod lists;
mod loads;
mod log_lines;
mod missing_rows;
mod support;
mod unreachable_rows;
