#![doc = include_str!("../README.md")]

pub mod conformance;
mod layer;
mod virtual_clock;

pub use layer::{Layer, Layered};
pub use virtual_clock::VirtualClock;
