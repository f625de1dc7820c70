//! Several processes on one file: who runs what when one is killed or frozen, and how soon the others hear of work.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod hosts;
mod lock_files;
mod lost_file;
mod poison;
mod retries;
mod takeover;
mod wakeups;
mod worker;
