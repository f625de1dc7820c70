//! The workloads of the benchmark. They are one source for all subjects and depend on none of them: a subject implements the
//! [`ability`] traits that a workload needs. A workload drives the clients, measures them, and then reads back and checks what
//! the subject has acknowledged.
//!
//! The driver starts each [`Run`] as a process of its own, which prints its [`Measured`] as JSON.

pub mod ability;
mod clients;
pub mod clock;
mod machine;
mod measured;
mod place;
mod read_back;
mod run;
mod serve;
pub mod workload;

use std::error::Error;

pub use measured::{Extra, Measured, Range, Sum};
pub use place::Place;
pub use run::Run;
pub use serve::{ONE_RUN, Work, Workload, run_requested, work};

/// An error ends the run, and with it the benchmark.
pub type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
