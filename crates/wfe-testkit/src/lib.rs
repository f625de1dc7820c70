#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod crash;
pub mod generator;
mod layer;
pub mod scenarios;
pub mod steps;
mod test_host;
mod virtual_clock;

pub use layer::{Layer, Layered};
pub use test_host::{FinalState, TestHost, TestHostBuilder};
pub use virtual_clock::VirtualClock;
